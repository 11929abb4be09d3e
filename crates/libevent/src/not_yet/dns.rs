//! event2/dns.h: see [`super`].

use super::say_once;
use core::ffi::{c_char, c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::AtomicBool;
use libc::addrinfo;

fails! { null;
    evdns_add_server_port
    evdns_add_server_port_with_base
    evdns_base_new
    evdns_base_resolve_ipv4
    evdns_base_resolve_ipv6
    evdns_base_resolve_reverse
    evdns_base_resolve_reverse_ipv6
    evdns_get_global_base
}

fails! { minus_one;
    evdns_base_clear_nameservers_and_suspend
    evdns_base_get_nameserver_addr
    evdns_base_load_hosts
    evdns_base_nameserver_add
    evdns_base_nameserver_ip_add
    evdns_base_nameserver_sockaddr_add
    evdns_base_resume
    evdns_base_set_option
    evdns_clear_nameservers_and_suspend
    evdns_init
    evdns_nameserver_add
    evdns_nameserver_ip_add
    evdns_resolve_ipv4
    evdns_resolve_ipv6
    evdns_resolve_reverse
    evdns_resolve_reverse_ipv6
    evdns_resume
    evdns_server_request_add_a_reply
    evdns_server_request_add_aaaa_reply
    evdns_server_request_add_cname_reply
    evdns_server_request_add_ptr_reply
    evdns_server_request_add_reply
    evdns_server_request_drop
    evdns_server_request_get_requesting_addr
    evdns_server_request_respond
    evdns_set_option
}

fails! { nothing;
    evdns_base_clear_host_addresses
    evdns_base_free
    evdns_base_search_add
    evdns_base_search_clear
    evdns_base_search_ndots_set
    evdns_cancel_request
    evdns_close_server_port
    evdns_getaddrinfo_cancel
    evdns_search_add
    evdns_search_clear
    evdns_search_ndots_set
    evdns_server_request_set_flags
    evdns_set_log_fn
    evdns_set_random_bytes_fn
    evdns_set_transaction_id_fn
    evdns_shutdown
}

// None are configured.
fails! { zero;
    evdns_base_count_nameservers
    evdns_count_nameservers
}

// 1: the file cannot be read. (0 is success, -1 is none of the failures.)
fails! { one;
    evdns_base_resolv_conf_parse
    evdns_resolv_conf_parse
}

type Answer = unsafe extern "C-unwind" fn(c_int, *mut addrinfo, *mut c_void);

/// The header promises that the callback is called, at once where null is returned: without it programs wait for ever.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evdns_getaddrinfo(
    _: *mut c_void,
    _: *const c_char,
    _: *const c_char,
    _: *const addrinfo,
    answer: Option<Answer>,
    arg: *mut c_void,
) -> *mut c_void {
    static SAID: AtomicBool = AtomicBool::new(false);
    say_once(&SAID, "evdns_getaddrinfo");
    if let Some(answer) = answer {
        // SAFETY: the program's function, and the error as it asks for it.
        unsafe { answer(libc::EAI_FAIL, null_mut(), arg) };
    }
    null_mut()
}

/// Programs print it: never null.
#[unsafe(no_mangle)]
pub extern "C" fn evdns_err_to_string(code: c_int) -> *const c_char {
    let text = match code {
        0 => c"no error",
        1 => c"query malformed",
        2 => c"name server failed",
        3 => c"name does not exist",
        4 => c"query not supported by the name server",
        5 => c"query refused",
        65 => c"answer truncated or malformed",
        67 => c"timed out",
        68 => c"DNS shut down",
        69 => c"query canceled",
        70 => c"no such records",
        _ => c"unknown error",
    };
    text.as_ptr()
}
