//! Making sockets that std has no way to make.

pub use duolu_sys::socket::{
    Connecting, ListenOptions, connect, listen, set_linger, set_nodelay, set_recv_buffer, set_send_buffer,
    take_error,
};
