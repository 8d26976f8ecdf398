"""Two measurements of subscriptions: delivery latency, and completeness during kills."""
