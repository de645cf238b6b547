//! The driver leaves Nagle's algorithm on, and has no setting for it and no way to its sockets. The five bytes that end a
//! COPY then stay here until the server has acknowledged what came before: 40 ms on one machine, a round trip elsewhere.

/// Lets small messages go at once, on every connection of this process. Where the system does not allow that, they wait.
#[cfg(target_os = "linux")]
pub(super) fn send_at_once() {
    use rustix::net::sockopt::set_tcp_nodelay;
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    let Ok(this_process) = pidfd_open(getpid(), PidfdFlags::empty()) else { return };
    for entry in std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let is_socket =
            std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
        if let Some(number) = number
            && is_socket
            && let Ok(socket) = pidfd_getfd(&this_process, number, PidfdGetfdFlags::empty())
        {
            // Some are no TCP connections.
            _ = set_tcp_nodelay(&socket, true);
        }
    }
}

/// Nothing is known to help here.
#[cfg(not(target_os = "linux"))]
pub(super) fn send_at_once() {}
