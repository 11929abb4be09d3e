//! The contract of `duolu_core::Backend`, line by line, on all four pairs of hands.
//!
//! Each line is written once, as a function of an empty backend, and expanded into one test per backend. Where
//! io_uring cannot be had its tests fail; DUOLU_TEST_NO_URING=1 says that this is known, and skips them.

mod contract {
    pub mod busy;
    pub mod closing;
    pub mod kit;
    pub mod process;
    pub mod readiness;
    pub mod size;
}

/// One module per backend, one test per line of the contract.
macro_rules! on_every_backend {
    ($($room:ident: $($line:ident)*;)*) => {
        on_every_backend!(@one select, Select; $($room: $($line)*;)*);
        on_every_backend!(@one poll, Poll; $($room: $($line)*;)*);
        on_every_backend!(@one epoll, Epoll; $($room: $($line)*;)*);
        on_every_backend!(@one io_uring, IoUring; $($room: $($line)*;)*);
        /// epoll as it was before Linux 5.11, with milliseconds.
        mod epoll_ms {
            $($(
                #[test]
                fn $line() {
                    let _room = crate::contract::$room::enter();
                    let mut backend = duolu_sys::backend::Epoll::with_milliseconds().unwrap();
                    crate::contract::$room::$line(&mut backend);
                }
            )*)*
        }
    };
    (@one $module:ident, $kind:ident; $($room:ident: $($line:ident)*;)*) => {
        mod $module {
            $($(
                #[test]
                fn $line() {
                    let _room = crate::contract::$room::enter();
                    if let Some(mut backend) = crate::contract::kit::open(duolu_sys::backend::BackendKind::$kind) {
                        crate::contract::$room::$line(&mut *backend);
                    }
                }
            )*)*
        }
    };
}

on_every_backend! {
    readiness:
        nothing_watched_is_a_plain_sleep
        level_is_told_every_wait_as_long_as_it_lasts
        level_is_not_told_for_what_was_read_meanwhile
        edge_is_told_once_for_each_new_event
        one_shot_is_told_once_for_each_add_or_modify
        modify_tells_again_what_was_told_before
        modify_changes_interest_and_token
        remove_silences
        remove_silences_what_had_happened_already
        remove_of_the_unknown_is_success
        add_of_the_known_replaces
        write_readiness_comes_and_goes
        both_directions_come_in_one_report
        a_connection_to_accept_is_read
        peer_closed_is_told_while_bytes_wait
        hangup_is_told
        error_is_told
        a_refused_connect_is_told
        a_regular_file_is_always_ready
        a_regular_file_can_be_changed_and_removed
        a_directory_counts_as_a_file
        exclusive_watches_can_be_changed
        reports_are_appended;
    closing:
        a_closed_descriptor_never_spins_and_never_fails
        a_closed_descriptor_does_not_disturb_the_others
        adding_a_closed_number_is_refused_or_told_as_invalid
        a_negative_number_is_refused
        a_copy_that_outlives_the_descriptor_is_silent_after_remove
        a_copy_that_outlives_the_descriptor_does_not_reach_the_next_owner
        a_number_reused_between_remove_and_add_means_the_new_file
        a_number_reused_behind_our_back_means_the_new_file_after_modify
        a_late_report_does_not_reach_the_next_owner
        removed_and_closed_is_released_by_the_next_wait
        let_go_of_and_closed_is_released_at_once
        let_go_of_and_changed_goes_on
        let_go_of_and_copied_leaves_nothing_behind
        who_was_deceived_once_wants_descriptors_let_go_of
        dropping_the_backend_releases_everything;
    size:
        two_thousand_at_once
        numbers_past_fd_setsize
        more_than_any_queue_holds
        ten_thousand_changes_without_a_wait
        a_growing_and_shrinking_set_stays_right;
    busy:
        a_crowd_is_told_every_wait_and_no_longer
        who_pauses_in_a_crowd_is_told_at_once_when_he_goes_on
        a_crowd_that_fell_silent_wakes_the_sleeper
        one_of_a_crowd_can_be_closed_without_a_word
        a_crowd_is_told_as_poll_would;
    process:
        no_timeout_ends_early
        a_huge_timeout_is_for_ever
        a_signal_ends_the_wait
        signals_hide_nobody_of_a_crowd
        a_lowered_limit_hides_nobody_of_a_crowd
        a_crowd_goes_on_in_another_thread
        reinit_after_fork_leaves_the_parent_alone
        a_child_may_drop_the_backend
        reinit_forgets_everything
        another_thread_may_go_on
        the_thread_that_armed_may_end
        an_outer_poll_wakes
        an_outer_epoll_wakes
        a_nested_change_without_a_wait_counts;
}

#[test]
fn io_uring_is_there() {
    contract::kit::open(duolu_sys::backend::BackendKind::IoUring);
}
