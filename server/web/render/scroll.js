// Follows the end of what grows, for as long as the reader is there. It is the reader who leaves the end, by moving up, and
// who comes back: heights that change by themselves decide nothing.

import {focusMessage} from "../lib/dom.js";

const NEAR_PX = 48;

export class Follower {
  isFollowing = true;
  #box;
  #button;
  #top = 0;
  #height = 0;

  /** @param {HTMLElement} box what scrolls @param {HTMLElement} button leads back to the end */
  constructor(box, button) {
    this.#box = box;
    this.#button = button;
    box.addEventListener("scroll", () => this.#scrolled(), {passive: true});
    new ResizeObserver(() => this.isFollowing && this.settle()).observe(box); // a composer that grows takes room of it
    button.addEventListener("click", () => {
      this.toEnd();
      focusMessage(); // the button is gone
    });
  }

  toEnd() {
    this.#set(true);
    this.settle();
  }

  /** After something was painted. */
  settle() {
    if (this.isFollowing) this.#box.scrollTop = this.#box.scrollHeight;
    this.#note();
  }

  /** Whether somebody who has left the end looks at it. @param {Element} element */
  isRead(element) {
    if (this.isFollowing) return false;
    const [box, seen] = [this.#box.getBoundingClientRect(), element.getBoundingClientRect()];
    return seen.bottom > box.top && seen.top < box.bottom;
  }

  /** Does something that changes heights above; the first line that is seen stays where it is. @param {() => void} change */
  keepPlace(change) {
    if (this.isFollowing) return change();
    const top = this.#box.getBoundingClientRect().top;
    const anchor = [...this.#box.querySelectorAll("article .body > *, article")].find((each) => each.getBoundingClientRect().top >= top);
    const before = anchor?.getBoundingClientRect().top ?? 0;
    change();
    if (anchor?.isConnected) this.#box.scrollTop += anchor.getBoundingClientRect().top - before;
    this.#note();
  }

  #scrolled() {
    const {scrollTop, scrollHeight, clientHeight} = this.#box;
    const leftPx = scrollHeight - clientHeight - scrollTop;
    const movedUp = scrollTop < this.#top && scrollHeight >= this.#height;
    if (movedUp && leftPx > 4) this.#set(false);
    else if (leftPx < NEAR_PX && scrollTop > this.#top) this.#set(true);
    this.#note();
  }

  #set(isFollowing) {
    this.isFollowing = isFollowing;
    this.#button.hidden = isFollowing;
  }

  #note() {
    this.#top = this.#box.scrollTop;
    this.#height = this.#box.scrollHeight;
  }
}
