"""Published methods as plain PyTorch loops, written from the papers; nothing here knows ganflow.

    METHODS["acgan"](nets, batches, draw)

``nets``: name -> module, which the loop trains in place and to which it adds what it derives (an average). ``batches``:
one batch after the other. ``draw(site, kind, *args)`` as in the zoo's loops. Returned: the states, name -> number.
"""

from __future__ import annotations
