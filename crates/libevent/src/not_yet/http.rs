//! event2/http.h: see [`super`].

use super::say_once;
use crate::layout_more::evkeyvalq;
use core::ffi::{c_char, c_int, c_void};
use core::ptr::{addr_of_mut, null_mut};
use core::sync::atomic::AtomicBool;

fails! { null;
    evhttp_accept_socket_with_handle
    evhttp_bind_listener
    evhttp_bind_socket_with_handle
    evhttp_bound_socket_get_listener
    evhttp_connection_base_bufferevent_new
    evhttp_connection_base_new
    evhttp_connection_get_addr
    evhttp_connection_get_base
    evhttp_connection_get_bufferevent
    evhttp_connection_get_server
    evhttp_connection_new
    evhttp_decode_uri
    evhttp_encode_uri
    evhttp_find_header
    evhttp_htmlescape
    evhttp_new
    evhttp_request_get_connection
    evhttp_request_get_evhttp_uri
    evhttp_request_get_host
    evhttp_request_get_input_buffer
    evhttp_request_get_input_headers
    evhttp_request_get_output_buffer
    evhttp_request_get_output_headers
    evhttp_request_get_response_code_line
    evhttp_request_get_uri
    evhttp_request_new
    evhttp_start
    evhttp_uri_get_fragment
    evhttp_uri_get_host
    evhttp_uri_get_path
    evhttp_uri_get_query
    evhttp_uri_get_scheme
    evhttp_uri_get_userinfo
    evhttp_uri_join
    evhttp_uri_new
    evhttp_uri_parse
    evhttp_uri_parse_with_flags
    evhttp_uridecode
    evhttp_uriencode
}

fails! { minus_one;
    evhttp_accept_socket
    evhttp_add_header
    evhttp_add_server_alias
    evhttp_add_virtual_host
    evhttp_bind_socket
    evhttp_bound_socket_get_fd
    evhttp_connection_set_flags
    evhttp_del_cb
    evhttp_make_request
    evhttp_remove_header
    evhttp_remove_server_alias
    evhttp_remove_virtual_host
    evhttp_set_flags
    evhttp_uri_get_port
    evhttp_uri_set_fragment
    evhttp_uri_set_host
    evhttp_uri_set_path
    evhttp_uri_set_port
    evhttp_uri_set_query
    evhttp_uri_set_scheme
    evhttp_uri_set_userinfo
}

fails! { nothing;
    evhttp_cancel_request
    evhttp_clear_headers
    evhttp_connection_free
    evhttp_connection_free_on_completion
    evhttp_connection_set_base
    evhttp_connection_set_closecb
    evhttp_connection_set_family
    evhttp_connection_set_initial_retry_tv
    evhttp_connection_set_local_address
    evhttp_connection_set_local_port
    evhttp_connection_set_max_body_size
    evhttp_connection_set_max_headers_size
    evhttp_connection_set_retries
    evhttp_connection_set_timeout
    evhttp_connection_set_timeout_tv
    evhttp_del_accept_socket
    evhttp_foreach_bound_socket
    evhttp_free
    evhttp_request_free
    evhttp_request_own
    evhttp_request_set_chunked_cb
    evhttp_request_set_error_cb
    evhttp_request_set_header_cb
    evhttp_request_set_on_complete_cb
    evhttp_send_error
    evhttp_send_reply
    evhttp_send_reply_chunk
    evhttp_send_reply_chunk_with_cb
    evhttp_send_reply_end
    evhttp_send_reply_start
    evhttp_set_allowed_methods
    evhttp_set_bevcb
    evhttp_set_default_content_type
    evhttp_set_gencb
    evhttp_set_max_body_size
    evhttp_set_max_headers_size
    evhttp_set_timeout
    evhttp_set_timeout_tv
    evhttp_uri_free
    evhttp_uri_set_flags
}

// Of a request that there is not: no command, no code, nobody's.
fails! { zero;
    evhttp_request_get_command
    evhttp_request_get_response_code
    evhttp_request_is_owned
}

// -1 would be: there is one already.
fails! { minus_two;
    evhttp_set_cb
}

/// Nobody, on no port.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_get_peer(
    _: *mut c_void,
    address: *mut *mut c_char,
    port: *mut u16,
) {
    static SAID: AtomicBool = AtomicBool::new(false);
    say_once(&SAID, "evhttp_connection_get_peer");
    // SAFETY: what the header asks.
    unsafe {
        address.write(null_mut());
        port.write(0);
    }
}

/// No fields: programs look at the list whatever the answer was, and clear it.
unsafe fn no_fields(fields: *mut evkeyvalq) -> c_int {
    // SAFETY: what the header asks.
    unsafe {
        (*fields).first = null_mut();
        (*fields).last = addr_of_mut!((*fields).first);
    }
    -1
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_parse_query(_: *const c_char, fields: *mut evkeyvalq) -> c_int {
    static SAID: AtomicBool = AtomicBool::new(false);
    say_once(&SAID, "evhttp_parse_query");
    // SAFETY: what the header asks.
    unsafe { no_fields(fields) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_parse_query_str(_: *const c_char, fields: *mut evkeyvalq) -> c_int {
    static SAID: AtomicBool = AtomicBool::new(false);
    say_once(&SAID, "evhttp_parse_query_str");
    // SAFETY: what the header asks.
    unsafe { no_fields(fields) }
}
