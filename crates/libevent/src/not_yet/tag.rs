//! event2/tag.h: see [`super`].

fails! { minus_one;
    evtag_consume
    evtag_decode_int
    evtag_decode_int64
    evtag_decode_tag
    evtag_encode_tag
    evtag_payload_length
    evtag_peek
    evtag_peek_length
    evtag_unmarshal
    evtag_unmarshal_fixed
    evtag_unmarshal_header
    evtag_unmarshal_int
    evtag_unmarshal_int64
    evtag_unmarshal_string
    evtag_unmarshal_timeval
}

fails! { nothing;
    evtag_encode_int
    evtag_encode_int64
    evtag_init
    evtag_marshal
    evtag_marshal_buffer
    evtag_marshal_int
    evtag_marshal_int64
    evtag_marshal_string
    evtag_marshal_timeval
}
