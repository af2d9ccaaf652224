"""A request in, a reply out: one module a subject, and what handlers share."""
