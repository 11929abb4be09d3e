//! What is asked of the kernel ([`Interest`], [`Trigger`]) and what it tells ([`Ready`]).

use core::fmt;
use core::ops::{BitAnd, BitOr, BitOrAssign, Sub};

macro_rules! flag_set {
    ($(#[$doc:meta])* $name:ident: $word:ty { $($(#[$flag_doc:meta])* $flag:ident = $bit:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[repr(transparent)]
        pub struct $name($word);

        impl $name {
            /// The empty set.
            pub const NONE: $name = $name(0);
            $($(#[$flag_doc])* pub const $flag: $name = $name($bit);)*

            /// The set with exactly these bits; bits without a name are dropped.
            pub const fn from_bits(bits: $word) -> Self { $name(bits & (0 $(| $bit)*)) }
            /// The set as an integer.
            pub const fn bits(self) -> $word { self.0 }
            /// Whether the set is empty.
            pub const fn is_empty(self) -> bool { self.0 == 0 }
            /// Whether every flag of `other` is in the set.
            pub const fn contains(self, other: $name) -> bool { self.0 & other.0 == other.0 }
            /// Whether any flag of `other` is in the set.
            pub const fn intersects(self, other: $name) -> bool { self.0 & other.0 != 0 }
            /// Both sets together, usable in constants.
            pub const fn with(self, other: $name) -> Self { $name(self.0 | other.0) }
        }
        impl BitOr for $name { type Output = $name; fn bitor(self, o: $name) -> $name { $name(self.0 | o.0) } }
        impl BitOrAssign for $name { fn bitor_assign(&mut self, o: $name) { self.0 |= o.0 } }
        impl BitAnd for $name { type Output = $name; fn bitand(self, o: $name) -> $name { $name(self.0 & o.0) } }
        impl Sub for $name { type Output = $name; fn sub(self, o: $name) -> $name { $name(self.0 & !o.0) } }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut first = true;
                $(if self.intersects($name::$flag) {
                    if !first { f.write_str("|")? }
                    first = false;
                    f.write_str(stringify!($flag))?;
                })*
                if first { f.write_str("NONE")? }
                Ok(())
            }
        }
    };
}

flag_set! {
    /// What a watcher asks for.
    Interest: u8 {
        /// Reading would not block: bytes, a connection to accept, end of file, or an error.
        READ = 1;
        /// Writing would not block.
        WRITE = 4;
        /// The peer has shut its sending side (FIN): EPOLLRDHUP, libevent's EV_CLOSED. Told even while
        /// unread bytes wait. Only on backends with `Features::PEER_CLOSED`.
        PEER_CLOSED = 2;
        /// Urgent data waits (EPOLLPRI; TCP's MSG_OOB). Only on backends with `Features::exact_edges`: elsewhere an event
        /// that asks for more than this is told the rest, and one that does not is refused.
        URGENT = 8;
    }
}

flag_set! {
    /// Why a callback is due. What the kernel tells has the bits that poll(2) and epoll(7) have for it, so that a
    /// kernel's report is one of the loop's as it stands.
    Ready: u32 {
        /// Reading would not block.
        READ = 1;
        /// Writing would not block.
        WRITE = 4;
        /// Urgent data waits: where it is marked recv(2) stops short.
        URGENT = 2;
        /// The peer has shut its sending side.
        PEER_CLOSED = 0x2000;
        /// Both directions are shut (EPOLLHUP). Comes with READ and WRITE for whoever asked for those.
        HANGUP = 16;
        /// The descriptor has an error pending (EPOLLERR). Comes with READ and WRITE likewise.
        ERROR = 8;
        /// The event's own timeout ran out.
        TIMEOUT = 0x1000;
        /// A signal arrived.
        SIGNAL = 0x4000;
        /// Activated by the program itself.
        USER = 0x8000;
        /// The descriptor is not open (POLLNVAL, EBADF): it was closed while still watched. The kernel
        /// has let go of it; it is reported once, with READ and WRITE for whoever asked for those.
        INVALID = 32;
    }
}

impl Interest {
    /// What tells that this has come true.
    pub const fn as_ready(self) -> Ready {
        const SAME: u32 = Ready::READ.0 | Ready::WRITE.0;
        let bits = self.0 as u32;
        let peer_closed = (bits & Interest::PEER_CLOSED.0 as u32) << PEER_CLOSED_SHIFT;
        Ready(bits & SAME | peer_closed | (bits & Interest::URGENT.0 as u32) >> URGENT_SHIFT)
    }
}

// Without a branch: it is asked for every change and many reports.
const PEER_CLOSED_SHIFT: u32 = 12;
const URGENT_SHIFT: u32 = 2;
const _: () = assert!((Interest::PEER_CLOSED.0 as u32) << PEER_CLOSED_SHIFT == Ready::PEER_CLOSED.0);
const _: () = assert!(Interest::URGENT.0 as u32 >> URGENT_SHIFT == Ready::URGENT.0);

const _: () = assert!(Interest::READ.0 as u32 == Ready::READ.0 && Interest::WRITE.0 as u32 == Ready::WRITE.0);

/// How often readiness is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Trigger {
    /// Told every turn, as long as it lasts (epoll's default, the only way of select and poll).
    #[default]
    Level,
    /// Told once for each new event (EPOLLET). Where a backend has no edges it is told as Level, which is
    /// a superset: a program that drains until EAGAIN or a short read works on both.
    Edge,
    /// Told once, then silent until re-armed (EPOLLONESHOT).
    OneShot,
}
