//! The names of the policies.

use std::fmt;

use crate::CloseReason;

macro_rules! names {
    ($($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $name:ident = $text:literal,)+ })+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
            #[non_exhaustive]
            pub enum $type {
                $($(#[$variant_doc])* $name,)+
            }

            impl $type {
                /// All of them.
                pub const ALL: &[Self] = &[$(Self::$name,)+];

                /// Its name in logs and metrics.
                pub const fn as_str(self) -> &'static str {
                    match self {
                        $(Self::$name => $text,)+
                    }
                }
            }

            impl fmt::Display for $type {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.pad(self.as_str())
                }
            }
        )+
    };
}

names! {
    /// A policy that may run out for a connection: see
    /// [`Policies`](crate::Policies), which has a method of each name.
    Policy {
        /// The TLS handshake took too long.
        HandshakeTimeout = "handshake_timeout",
        /// The client said nothing.
        FirstByteTimeout = "first_byte_timeout",
        /// The head of a request took too long.
        HeaderTimeout = "header_timeout",
        /// No request came for too long.
        IdleTimeout = "idle_timeout",
        /// The body of a request came too slowly
        /// ([`body_timeout`](crate::Policies::body_timeout),
        /// [`min_body_rate`](crate::Policies::min_body_rate)).
        BodyTimeout = "body_timeout",
        /// The client took what was sent too slowly
        /// ([`write_timeout`](crate::Policies::write_timeout),
        /// [`min_write_rate`](crate::Policies::min_write_rate)).
        WriteTimeout = "write_timeout",
        /// Nothing passed through a hijacked connection for too long.
        TunnelIdleTimeout = "tunnel_idle_timeout",
        /// The connection has reached its age.
        MaxAge = "max_age",
        /// The connection has carried its number of requests.
        MaxRequests = "max_requests",
    }

    /// Why a connection was refused.
    Limit {
        /// [`max_connections`](crate::Policies::max_connections).
        MaxConnections = "max_connections",
        /// [`max_connections_per_ip`](crate::Policies::max_connections_per_ip).
        MaxConnectionsPerIp = "max_connections_per_ip",
    }
}

impl Policy {
    pub(crate) fn reason(self) -> CloseReason {
        match self {
            Self::HandshakeTimeout => CloseReason::HandshakeTimeout,
            Self::FirstByteTimeout => CloseReason::FirstByteTimeout,
            Self::HeaderTimeout => CloseReason::HeaderTimeout,
            Self::IdleTimeout => CloseReason::IdleTimeout,
            Self::BodyTimeout => CloseReason::BodyTimeout,
            Self::WriteTimeout => CloseReason::WriteTimeout,
            Self::TunnelIdleTimeout => CloseReason::TunnelIdleTimeout,
            Self::MaxAge => CloseReason::MaxAge,
            Self::MaxRequests => CloseReason::MaxRequests,
        }
    }
}
