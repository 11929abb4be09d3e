//! What the view shows and what a key does to it. No terminal here, so that tests press the keys.

use super::filter::Filter;
use super::table::Sort;
use crate::inspect::Socket;
use crate::lang::Lang;
use crate::states::diagram::paint::Ink;
use crate::states::transitions::Look;
use crate::states::view::View;
use duolu_sys::tcp_diag::StateSet;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Which of the two is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tab {
    /// The states and edges.
    Diagram,
    /// A line for each connection.
    Table,
}

/// What is to be done after a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Something looks different.
    Redraw,
    /// It is time for the next look.
    Look,
    /// The filter has changed: the sockets that are looked at, too.
    Refilter,
    /// Ctrl-Z.
    Suspend,
    /// Enough seen.
    Quit,
    /// Ctrl-C.
    Interrupted,
}

/// The view.
pub struct App {
    /// What is looked at: `:8080`.
    pub at: Option<String>,
    pub lang: Lang,
    pub ink: Ink,
    pub tab: Tab,
    pub sort: Sort,
    /// The first line of the table, or of the help, that is shown. Drawing keeps it within what there is.
    pub scroll: usize,
    /// How far Page Up and Page Down go.
    pub page: usize,
    pub help: bool,
    /// What is being typed after `/`.
    pub typing: Option<String>,
    /// What was typed, and applies.
    pub typed: String,
    /// Why the last look failed.
    pub failed: Option<String>,
    look: Option<Look>,
    /// Which of the look's sockets are asked for.
    picked: Vec<usize>,
    states: StateSet,
    filter: Filter,
    paused: bool,
}

impl App {
    pub fn new(at: Option<String>, lang: Lang, ink: Ink, states: StateSet) -> Self {
        App {
            at,
            lang,
            ink,
            tab: Tab::Diagram,
            sort: Sort::State,
            scroll: 0,
            page: 1,
            help: false,
            typing: None,
            typed: String::new(),
            failed: None,
            look: None,
            picked: Vec::new(),
            states,
            filter: Filter::default(),
            paused: false,
        }
    }

    /// From now on this is shown.
    pub fn show(&mut self, look: Look, is_asked: impl Fn(&Socket) -> bool) {
        let asked = |(at, socket)| is_asked(socket).then_some(at);
        self.picked = look.snapshot.sockets.iter().enumerate().filter_map(asked).collect();
        self.look = Some(look);
        self.failed = None;
    }

    /// The sockets could not be read this time.
    pub fn fail(&mut self, why: String) {
        self.failed = Some(why);
    }

    pub fn look(&self) -> Option<&Look> {
        self.look.as_ref()
    }

    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// How many sockets the diagram counts.
    pub fn counted(&self) -> usize {
        self.picked.len()
    }

    /// What the table lists.
    pub fn view(&self) -> Option<View<'_>> {
        let look = self.look.as_ref()?;
        let sockets = self.picked.iter().filter_map(|at| look.snapshot.sockets.get(*at));
        let listed =
            |socket: &&Socket| self.states.contains(socket.tcp.state) && self.filter.lists(socket.tcp.state);
        Some(View { snapshot: &look.snapshot, picked: sockets.filter(listed).collect() })
    }

    /// A key was pressed. `None`: it means nothing here.
    pub fn key(&mut self, key: KeyEvent) -> Option<Action> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Some(Action::Interrupted),
                KeyCode::Char('z') => Some(Action::Suspend),
                KeyCode::Char('l') => Some(Action::Redraw),
                _ => None,
            };
        }
        if self.typing.is_some() {
            return self.typed_key(key.code);
        }
        match key.code {
            KeyCode::Char('q') => Some(Action::Quit),
            KeyCode::Char('?' | 'h') => self.turn(|app| (app.help, app.scroll) = (!app.help, 0)),
            KeyCode::Esc if self.help => self.turn(|app| (app.help, app.scroll) = (false, 0)),
            KeyCode::Esc if !self.typed.is_empty() => self.apply(String::new()),
            KeyCode::Char('p' | ' ') => self.turn(|app| app.paused = !app.paused),
            KeyCode::Tab | KeyCode::BackTab | KeyCode::Char('t') => self.turn(|app| {
                app.tab = if app.tab == Tab::Table && !app.help { Tab::Diagram } else { Tab::Table };
                (app.help, app.scroll) = (false, 0);
            }),
            KeyCode::Char('d') => self.turn(|app| (app.tab, app.help, app.scroll) = (Tab::Diagram, false, 0)),
            KeyCode::Char('/') => self.turn(|app| app.typing = Some(app.typed.clone())),
            KeyCode::Char('s') if self.tab == Tab::Table => {
                self.turn(|app| (app.sort, app.scroll) = (app.sort.next(), 0))
            }
            KeyCode::Char('l') => self.turn(|app| app.lang = app.lang.other()),
            KeyCode::Up | KeyCode::Char('k') => self.turn(|app| app.scroll = app.scroll.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.turn(|app| app.scroll = app.scroll.saturating_add(1)),
            KeyCode::PageUp => self.turn(|app| app.scroll = app.scroll.saturating_sub(app.page)),
            KeyCode::PageDown => self.turn(|app| app.scroll = app.scroll.saturating_add(app.page)),
            KeyCode::Home | KeyCode::Char('g') => self.turn(|app| app.scroll = 0),
            KeyCode::End | KeyCode::Char('G') => self.turn(|app| app.scroll = usize::MAX),
            _ => None,
        }
    }

    fn typed_key(&mut self, code: KeyCode) -> Option<Action> {
        let typing = self.typing.as_mut()?;
        match code {
            KeyCode::Char(letter) => typing.push(letter),
            KeyCode::Backspace => drop(typing.pop()),
            KeyCode::Esc => self.typing = None,
            KeyCode::Enter => {
                let typed = self.typing.take().unwrap_or_default();
                return self.apply(typed.trim().to_owned());
            }
            _ => return None,
        }
        Some(Action::Redraw)
    }

    fn apply(&mut self, typed: String) -> Option<Action> {
        let filter = Filter::parse(&typed);
        // States alone only concern the table: what has been counted so far stays.
        let same = !filter.has_pick() && !self.filter.has_pick();
        (self.typed, self.filter, self.scroll) = (typed, filter, 0);
        Some(if same { Action::Redraw } else { Action::Refilter })
    }

    fn turn(&mut self, change: impl FnOnce(&mut Self)) -> Option<Action> {
        change(self);
        Some(Action::Redraw)
    }
}
