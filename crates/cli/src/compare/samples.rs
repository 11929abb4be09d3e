//! A report for the tests of what is made from one.

use super::blocks::{Block, Mix};
use super::result::{Asked, Cell, Report, methods};
use crate::machine::{Machine, Placement};
use crate::model::Model;
use crate::walls::{Wall, names};
use std::collections::BTreeMap;

/// The block that all of them belong to.
pub fn blocks() -> Vec<Block> {
    vec![Block { mix: Mix::All, payload: Some(64), active: None }]
}

/// A cell that held.
pub fn cell(model: Model, connections: u64, rate: f64) -> Cell {
    Cell {
        model: model.name().to_owned(),
        connections,
        established: connections,
        rate: Some(rate),
        p50_us: Some(900.0),
        p90_us: Some(2_000.0),
        p99_us: Some(4_200.0),
        p999_us: Some(9_000.0),
        server_cpu_us_per_msg: Some(1e6 / rate),
        server_bytes_per_conn: Some(if model == Model::Fork { 98_304.0 } else { 312.0 }),
        loader_cpu: Some(0.7),
        repeats: 1,
        payload_bytes: Some(64),
        active: Some(connections),
        limited_by: Some(Wall::new(names::CORE, "the server used 1.00 of one core", "--workers 2")),
        messages: rate as u64,
        window_s: 1.0,
        connect_p99_us: Some(120.0),
        server_cpu: Some(1.0),
        others_cpu: Some(0.0),
        ..Cell::default()
    }
}

/// fork and epoll-et hold 5,000; prefork stops at its 8 processes.
pub fn report() -> Report {
    let wall = Wall::new(super::diagnose::PREFORK, "8 processes serve one connection each", "an event loop");
    let stopped = Cell {
        established: 8,
        errors: 92,
        wall: Some(wall),
        limited_by: None,
        ..cell(Model::Prefork, 100, 9_000.0)
    };
    let models = ["fork", "prefork", "epoll-et"].map(str::to_owned).to_vec();
    let placement =
        Placement { pinned: true, server_cpus: vec![0], loader_cpus: vec![1], ..Placement::default() };
    Report {
        schema: 1,
        complete: true,
        interrupted: false,
        machine: Machine {
            kernel: "6.18.0".to_owned(),
            cpus: 2,
            memory_bytes: 24 << 30,
            placement,
            ..Machine::default()
        },
        asked: Asked {
            order: models.clone(),
            models,
            connections: vec![100, 1_000, 5_000],
            window_s: 1.0,
            repeats: 1,
            service: "echo".to_owned(),
            mixes: vec![Mix::All],
            payloads: vec![64],
            payload_bytes: Some(64),
            workers: 1,
            ..Asked::default()
        },
        results: vec![
            cell(Model::Fork, 100, 42_000.0),
            cell(Model::Fork, 1_000, 33_000.0),
            cell(Model::Fork, 5_000, 15_000.0),
            stopped,
            cell(Model::EpollEt, 100, 104_000.0),
            cell(Model::EpollEt, 1_000, 98_000.0),
            cell(Model::EpollEt, 5_000, 60_000.0),
        ],
        unavailable: BTreeMap::new(),
        shows: Vec::new(),
        against: None,
        methods: methods(),
    }
}
