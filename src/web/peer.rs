//! Who is at the other end of a connection.

use std::net::IpAddr;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The user that runs Carport, or root, over its own socket or in the same process: may do everything.
    Local {
        /// Who of them.
        uid: u32,
    },
    /// Somebody on the network.
    Remote {
        /// The address of the connection: the client's, or a proxy's.
        address: IpAddr,
        /// Whether we speak TLS on this connection ourselves.
        tls: bool,
    },
    /// Somebody whose connection a trusted proxy passes on as it is, and said so in the PROXY protocol. What the
    /// requests say of other hops is the client's own word.
    Passed {
        /// The client's address, as the proxy told it; 0.0.0.0 if it did not.
        address: IpAddr,
        /// Whether we speak TLS on this connection ourselves.
        tls: bool,
    },
}

impl Peer {
    /// Whoever runs this process.
    pub fn ourselves() -> Peer {
        Peer::Local { uid: rustix::process::geteuid().as_raw() }
    }

    /// The same, with whom no TLS is spoken.
    pub(super) fn in_the_clear(self) -> Peer {
        match self {
            Peer::Local { .. } => self,
            Peer::Remote { address, .. } => Peer::Remote { address, tls: false },
            Peer::Passed { address, .. } => Peer::Passed { address, tls: false },
        }
    }
}
