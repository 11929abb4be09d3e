//! event2/buffer.h: see [`super`].

fails! { null;
    evbuffer_add_cb
    evbuffer_file_segment_new
    evbuffer_find
    evbuffer_new
    evbuffer_pullup
    evbuffer_readline
    evbuffer_readln
}

fails! { minus_one;
    evbuffer_add
    evbuffer_add_buffer
    evbuffer_add_buffer_reference
    evbuffer_add_file
    evbuffer_add_file_segment
    evbuffer_add_reference
    evbuffer_add_vprintf
    evbuffer_cb_clear_flags
    evbuffer_cb_set_flags
    evbuffer_clear_flags
    evbuffer_commit_space
    evbuffer_copyout
    evbuffer_copyout_from
    evbuffer_defer_callbacks
    evbuffer_drain
    evbuffer_enable_locking
    evbuffer_expand
    evbuffer_freeze
    evbuffer_peek
    evbuffer_prepend
    evbuffer_prepend_buffer
    evbuffer_ptr_set
    evbuffer_read
    evbuffer_remove
    evbuffer_remove_buffer
    evbuffer_remove_cb
    evbuffer_remove_cb_entry
    evbuffer_reserve_space
    evbuffer_set_flags
    evbuffer_setcb
    evbuffer_unfreeze
    evbuffer_write
    evbuffer_write_atmost
}

fails! { zero;
    evbuffer_add_iovec
    evbuffer_get_contiguous_space
    evbuffer_get_length
}

fails! { nothing;
    evbuffer_file_segment_add_cleanup_cb
    evbuffer_file_segment_free
    evbuffer_free
    evbuffer_lock
    evbuffer_search
    evbuffer_search_eol
    evbuffer_search_range
    evbuffer_unlock
}
