"""What `sandbox/markdown` answers: everything that a page which formats answers has to cope with.

Pure: a text. The hostile pieces are what models were seen to be talked into; none may do anything where it is shown.
"""

from __future__ import annotations

from typing import Final

MARKDOWN: Final = r"""# Why the sky is blue

Sunlight is scattered by the air, and **short waves are scattered more** than *long* ones. ~~It reflects the sea.~~
The law is Rayleigh's, `I ~ 1/λ⁴`; see
[an encyclopedia](https://en.wikipedia.org/wiki/Rayleigh_scattering "Rayleigh scattering").

## In steps

1. Light enters the air.
   - Red goes *straight on*.
   - Blue is scattered:
     - by nitrogen,
     - by oxygen.
2. You look up.
3. Blue comes from **everywhere**.

- [x] asked
- [ ] understood

> A quotation, with `code` in it.
>
> > And one within.

| colour | wave length | scattered |
|:-------|:-----------:|----------:|
| violet | 400 nm | 9.4 |
| blue   | 450 nm | 5.9 |
| red    | 700 nm | 1.0 |

## As a formula

Inline it is \(I \propto \lambda^{-4}\), or $I = I_0 \frac{8\pi^4\alpha^2}{\lambda^4 R^2}(1+\cos^2\theta)$;
it costs $5 to $10. On its own:

$$
\int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2}
$$

\[
\sum_{n=1}^{\infty} \frac{1}{n^2} = \frac{\pi^2}{6}
\]

## As code

```python
def scattered(wave_length_nm: float) -> float:
    '''How much more than red.'''
    return (700 / wave_length_nm) ** 4  # Rayleigh
```

```js
const scattered = (nm) => (700 / nm) ** 4; // Rayleigh
console.log(`${scattered(450).toFixed(1)} times`);
```

```sql
SELECT colour, power(700 / nm, 4) AS scattered FROM colours WHERE nm < 500 ORDER BY nm;
```

```json
{"colour": "blue", "nm": 450, "scattered": 5.9, "visible": true}
```

```bash
curl -N localhost:8000/chat -H 'Content-Type: application/json' -d '{"message": "Why?"}'
```

    indented code, as it was once written

---

A long line without a place to break it: aVeryLongWordThatNoWindowIsWideEnoughForAndThatMustNeverMakeThePageScrollSidewaysHoweverLongItGoesOnAndOnAndOnAndOn.

مرحبا: هذا نص من اليمين إلى اليسار، مع `code` في وسطه.

## What must do nothing

Raw HTML is text: <b>bold</b> <img src=x onerror="alert(1)"> <script>alert(1)</script>

<div onclick="alert(1)">a block of <i>HTML</i></div>

No such link leads anywhere: [one](javascript:alert(1)), [two](JaVaScRiPt:alert(1)), [three](data:text/html,<script>alert(1)</script>), <javascript:alert(1)>.

No picture is loaded from elsewhere: ![a pixel that tells](https://example.com/pixel.png?secret=everything)

That is all.
"""
