//! Programs of Debian's, unmodified, on our library: they serve, with every method.
//!
//! `DUOLU_LIBEVENT` and `DUOLU_LIBEVENT_PRELOAD` have another object tested, a sanitized one say; `DUOLU_APPS_SECONDS` has the
//! loads last longer.

mod coturn;
mod fstrm;
mod kit;
mod memcached;
mod servers;
mod tmux;
mod unbound;
