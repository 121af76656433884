"""Prices as they were, for watches: two short series of figures, around moves of more than five per cent.

`GOOG`: closes in dollars of Google at Nasdaq, 14 to 27 October 2004, a trading day each (the results of the quarter
came after the close of 21 October). As in `GOOG.csv` of the PyPI package backtesting 0.6.6 (AGPL-3.0; its source is
Yahoo Finance). `XRP`: the perpetual contract XRPUSDT at Binance in dollars (USDT), 16 November 2021 from 08:00 UTC on,
the price at each quarter of an hour. As in `tests/testdata/futures/XRP_USDT_USDT-5m-futures.json` of freqtrade
(GPL-3.0), commit 69a63975, of which these are the opens of every third row. Figures of trades are facts; nothing else
of either is here.
"""

GOOG = {
    "2004-10-14": 142.0,
    "2004-10-15": 144.11,
    "2004-10-18": 149.16,
    "2004-10-19": 147.94,
    "2004-10-20": 140.49,
    "2004-10-21": 149.38,
    "2004-10-22": 172.43,
    "2004-10-25": 187.4,
    "2004-10-26": 181.8,
    "2004-10-27": 185.97,
}

XRP = {
    "08:00": 1.1256,
    "08:15": 1.1263,
    "08:30": 1.1232,
    "08:45": 1.1287,
    "09:00": 1.13,
    "09:15": 1.1264,
    "09:30": 1.121,
    "09:45": 1.1138,
    "10:00": 1.1031,
    "10:15": 1.0439,
    "10:30": 1.0714,
    "10:45": 1.087,
    "11:00": 1.0927,
    "11:15": 1.092,
    "11:30": 1.0961,
    "11:45": 1.0904,
    "12:00": 1.091,
    "12:15": 1.0936,
    "12:30": 1.0883,
}
