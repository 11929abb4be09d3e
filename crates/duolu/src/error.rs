//! What can go wrong when something is asked of a loop, whose fault it is, and what to do.

use duolu_core::Refused;
use std::fmt;
use std::io;

/// Why the loop cannot do what was asked.
#[derive(Debug)]
pub enum Error {
    /// The id names an event that has been removed. Harmless: drop the id.
    NoSuchEvent,
    /// The caller asked for something that makes no sense; the sentence says what to do.
    Misuse(&'static str),
    /// This backend cannot tell what was asked for; `Context::features` says what it can.
    Unsupported {
        /// The missing feature.
        feature: &'static str,
        /// The backend that lacks it.
        backend: &'static str,
    },
    /// The kernel refused.
    Io(io::Error),
}

impl Error {
    pub(crate) fn from_refusal(refused: Refused, backend: &'static str) -> Self {
        match refused {
            Refused::NoSuchEvent => Error::NoSuchEvent,
            Refused::BadDescriptor(_) => Error::Misuse("the descriptor's number is negative or absurd"),
            Refused::BadSignal(_) => Error::Misuse("signals are numbered 1 to 64"),
            Refused::NoInterest => Error::Misuse(
                "an event on a descriptor needs an interest: READ, WRITE, PEER_CLOSED or URGENT",
            ),
            Refused::MixedTriggers => Error::Misuse(
                "another event on this descriptor has a different trigger: the kernel keeps one mode for each \
                 descriptor, so make them all level, all edge or all one-shot, or dup(2) the descriptor",
            ),
            Refused::NotAlone => Error::Misuse(
                "an exclusive event cannot share its descriptor with another event of the same loop",
            ),
            Refused::BadPriority(_) => {
                Error::Misuse("the loop has fewer priorities than that: raise Config::priorities")
            }
            Refused::Unsupported(feature) => Error::Unsupported { feature, backend },
            Refused::Kernel(errno) => Error::Io(io::Error::from_raw_os_error(errno.0)),
            Refused::NoMemory => Error::Io(io::ErrorKind::OutOfMemory.into()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoSuchEvent => f.write_str("no such event: it has been removed"),
            Error::Misuse(sentence) => f.write_str(sentence),
            Error::Unsupported { feature, backend } => {
                write!(f, "the backend {backend} cannot tell {feature}: choose poll, epoll or io_uring")
            }
            Error::Io(error) => write!(f, "the kernel refused the descriptor: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match error {
            Error::Io(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidInput, other),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(error)
    }
}
