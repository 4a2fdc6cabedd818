//! Git servers reached safely: strict host keys, credentials, private CAs, proxies and time-outs.
