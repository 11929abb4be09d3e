//! Sizes and offsets of the public structs, as the system's headers have them and as ours does.
#![allow(dead_code, missing_docs, non_camel_case_types)]

use duolu_conform::{compile, ours, run};
use std::fmt::Write as _;
use std::mem::offset_of;
use std::time::Duration;

#[path = "../../libevent/src/layout.rs"]
mod layout;
#[path = "../../libevent/src/layout_more.rs"]
mod layout_more;

/// What the headers leave opaque.
#[derive(Debug)]
pub struct event_base {}

/// One line for Rust and one of C for each struct and field: `ours = "theirs" { ours = "theirs", .. }`.
macro_rules! layouts {
    ($rust:ident, $c:ident; $($name:ty = $theirs:literal { $($($field:ident).+ = $of:literal),* $(,)? })*) => { $(
        let _ = writeln!($rust, "{} {}", $theirs, size_of::<$name>());
        let _ = writeln!($c, "P({});", $theirs);
        $(
            let _ = writeln!($rust, "{} {} {}", $theirs, $of, offset_of!($name, $($field).+));
            let _ = writeln!($c, "F({}, {});", $theirs, $of);
        )*
    )* };
}

#[test]
fn structs_have_the_layout_of_the_headers() {
    use layout::*;
    use layout_more::*;
    let (mut rust, mut c) = (String::new(), String::new());
    layouts! { rust, c;
        event_callback = "struct event_callback" {
            active_next = "evcb_active_next", flags = "evcb_flags", priority = "evcb_pri", closure = "evcb_closure",
            callback = "evcb_cb_union.evcb_callback", arg = "evcb_arg",
        }
        event = "struct event" {
            evcallback = "ev_evcallback", timeout_pos = "ev_timeout_pos", fd = "ev_fd", base = "ev_base",
            signal = "ev_", events = "ev_events", res = "ev_res", timeout = "ev_timeout",
            evcallback.flags = "ev_evcallback.evcb_flags",
        }
        event_list = "struct event_list" { first = "tqh_first", last = "tqh_last" }
        event_dlist = "struct event_dlist" { first = "lh_first" }
        event_watermark = "struct event_watermark" { low = "low", high = "high" }
        bufferevent = "struct bufferevent" {
            ev_base = "ev_base", be_ops = "be_ops", ev_read = "ev_read", ev_write = "ev_write", input = "input",
            output = "output", wm_read = "wm_read", wm_write = "wm_write", readcb = "readcb", writecb = "writecb",
            errorcb = "errorcb", cbarg = "cbarg", timeout_read = "timeout_read", timeout_write = "timeout_write",
            enabled = "enabled",
        }
        evbuffer_ptr = "struct evbuffer_ptr" { pos = "pos", chain = "internal_.chain", pos_in_chain = "internal_.pos_in_chain" }
        libc::iovec = "struct evbuffer_iovec" { iov_base = "iov_base", iov_len = "iov_len" }
        evbuffer_cb_info = "struct evbuffer_cb_info" {
            orig_size = "orig_size", n_added = "n_added", n_deleted = "n_deleted",
        }
        libc::addrinfo = "struct evutil_addrinfo" {
            ai_flags = "ai_flags", ai_family = "ai_family", ai_addr = "ai_addr", ai_next = "ai_next",
        }
        evkeyval = "struct evkeyval" { next = "next", key = "key", value = "value" }
        evkeyvalq = "struct evkeyvalq" { first = "tqh_first", last = "tqh_last" }
        evhttp_request = "struct evhttp_request" {
            next = "next", evcon = "evcon", flags = "flags", input_headers = "input_headers",
            output_headers = "output_headers", remote_host = "remote_host", remote_port = "remote_port",
            host_cache = "host_cache", kind = "kind", type_ = "type", headers_size = "headers_size",
            body_size = "body_size", uri = "uri", uri_elems = "uri_elems", major = "major", minor = "minor",
            response_code = "response_code", response_code_line = "response_code_line", input_buffer = "input_buffer",
            ntoread = "ntoread", output_buffer = "output_buffer", cb = "cb", cb_arg = "cb_arg",
            chunk_cb = "chunk_cb", header_cb = "header_cb", error_cb = "error_cb", on_complete_cb = "on_complete_cb",
            on_complete_cb_arg = "on_complete_cb_arg",
        }
        evdns_server_request = "struct evdns_server_request" {
            flags = "flags", nquestions = "nquestions", questions = "questions",
        }
        evdns_server_question = "struct evdns_server_question" { type_ = "type", class = "class", name = "name" }
        evrpc_status = "struct evrpc_status" { error = "error", http_req = "http_req" }
        evrpc = "struct evrpc" {
            next = "next", uri = "uri", request_new = "request_new", request_new_arg = "request_new_arg",
            request_free = "request_free", request_unmarshal = "request_unmarshal", reply_new = "reply_new",
            reply_new_arg = "reply_new_arg", reply_free = "reply_free", reply_complete = "reply_complete",
            reply_marshal = "reply_marshal", cb = "cb", cb_arg = "cb_arg", base = "base",
        }
        evthread_lock_callbacks = "struct evthread_lock_callbacks" {
            lock_api_version = "lock_api_version", supported_locktypes = "supported_locktypes", alloc = "alloc",
            free = "free", lock = "lock", unlock = "unlock",
        }
        evthread_condition_callbacks = "struct evthread_condition_callbacks" {
            condition_api_version = "condition_api_version", alloc_condition = "alloc_condition",
            free_condition = "free_condition", signal_condition = "signal_condition",
            wait_condition = "wait_condition",
        }
    }
    let source = ours().programs.join("layout.c");
    let text = format!(
        "#include <stddef.h>\n#include <stdio.h>\n#include <netdb.h>\n#include <event2/event.h>\n\
         #include <event2/event_struct.h>\n#include <event2/buffer.h>\n#include <event2/bufferevent.h>\n#include <event2/bufferevent_struct.h>\n\
         #include <event2/keyvalq_struct.h>\n#include <event2/http.h>\n#include <event2/http_struct.h>\n\
         #include <event2/dns_struct.h>\n#include <event2/rpc.h>\n#include <event2/rpc_struct.h>\n\
         #include <event2/thread.h>\n#include <event2/util.h>\n\
         #define P(s) printf(#s \" %zu\\n\", sizeof(s))\n\
         #define F(s, f) printf(#s \" \" #f \" %zu\\n\", offsetof(s, f))\n\
         int main(void) {{\n{c}return 0;\n}}\n"
    )
    // Two names are macros for others; as strings they would say what they stand for.
    .replace("P(struct evbuffer_iovec)", "printf(\"struct evbuffer_iovec %zu\\n\", sizeof(struct iovec))")
    .replace("P(struct evutil_addrinfo)", "printf(\"struct evutil_addrinfo %zu\\n\", sizeof(struct addrinfo))");
    std::fs::write(&source, text).expect("the target directory can be written to");
    let probe = compile(source.to_str().expect("paths are UTF-8"), &["event"]);
    let outcome = run(&probe, &[], Duration::from_secs(20));
    assert_eq!(outcome.end, "exit status: 0");
    let lost = duolu_conform::difference(&outcome.stdout, &rust);
    assert!(outcome.stdout == rust, "- C, + ours:\n{lost}");
    assert!(rust.lines().count() > 120);
}
