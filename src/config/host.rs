//! Where a host is.

/// On this machine: `localhost`, a loopback address or a socket.
pub(crate) fn is_local(host: &str) -> bool {
    host.starts_with('/')
        || host.trim_end_matches('.') == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}
