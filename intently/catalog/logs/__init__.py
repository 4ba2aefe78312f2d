"""Logs of what users saw and clicked, aggregated to pairs of a query and an ad.

    file → layout → events (query, ad, session, position, what happened) → pairs (clicks, impressions, weight)

`columns` tells logs from files of judgements and names their columns, `flat` and `ubi` read events out of tables and
out of OpenSearch's User Behavior Insights, `pairs` aggregates them.
"""
