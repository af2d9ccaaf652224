"""The catalogue: fetched once for all, searched here, and what it tells of price.

catalogue, single_flight  the one fetch
facts, pages              what is known of a model; lists of them in pages
query, search             what is asked for, and what fits
costs, prompt_size        what a request may cost at most

Uses `border` and `client.errors`; is handed what fetches, and does not know `upstream`.
"""
