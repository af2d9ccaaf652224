"""One chunk of an answer: read by the one rule for all (`chunk`, with `parts`), or recognised without that (`plain`,
`shape`)."""
