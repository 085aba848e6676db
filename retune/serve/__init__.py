"""Models as an HTTP service: the answers of `retune.load`, asked by many at once (`retune serve`).

A request becomes rows; a worker thread of each model joins the rows of the requests that wait, and predicts them in one
batch (`batching`); `served` is a model with its worker, `app` the routes around some of them, `server` the process.
"""
