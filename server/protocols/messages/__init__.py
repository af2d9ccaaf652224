"""Anthropic's Messages: passed through to upstream's own route where there is one, else translated.

routes       the dialect and its routes
asked        what is asked for
view         a log as events: upstream's own, or made of any other log
blocks       the order of blocks in these: one at a time
thinking     thinking as blocks and back, with all that must come back with it
whole, gathering     a message made of its events, and of a log
usage        usage in Anthropic's words
failures     failures in Anthropic's words
"""
