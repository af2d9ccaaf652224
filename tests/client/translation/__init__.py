"""Every quirk of upstream's stream gives the right events."""
