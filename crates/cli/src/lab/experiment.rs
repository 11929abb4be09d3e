//! What a lab is, what one leaves behind, and why one may not be possible.

use super::claims::{Claim, Verdict, numbered};
use super::picture::Picture;
use super::said::{Said, said};
use super::stage::Stage;
use std::io;

/// An experiment on real sockets about claims of the notes. The verdict belongs to the claims; whether the experiment
/// holds is measured anew each time.
#[derive(Debug)]
pub struct Lab {
    /// As it is called on the command line.
    pub name: &'static str,
    /// The claims it is about; their words are the notes' ([`Lab::notes`]).
    pub claims: &'static [u8],
    /// What it does, in a few words.
    pub title: Said,
    /// What should be seen.
    pub expected: Said,
    /// Why it is so, with its source.
    pub why: Said,
    /// What becomes of its claims, taken together.
    pub verdict: Verdict,
    /// What it cannot do without.
    pub needs: Needs,
    /// The experiment.
    pub run: fn(&mut Stage) -> Result<(), Trouble>,
}

impl Lab {
    /// The claims themselves.
    pub fn claims(&self) -> impl Iterator<Item = &'static Claim> {
        self.claims.iter().map(|&number| numbered(number))
    }

    /// The notes' own words, claim after claim.
    pub fn notes(&self) -> String {
        self.claims().map(|claim| claim.words).collect::<Vec<_>>().join("\n")
    }
}

/// What an experiment cannot do without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// Nothing: any user, any loopback. In a network of its own it shows its packets, too.
    Nothing,
    /// A network of its own, because it changes it.
    OwnNetwork,
}

/// Why an experiment did not come to its end.
#[derive(Debug)]
pub enum Trouble {
    /// The machine does not let us, and what would.
    Cannot {
        /// What is missing.
        missing: Said,
        /// What unlocks it.
        unlock: Said,
    },
    /// A step went otherwise than any of the outcomes that the experiment is about.
    Broken(String),
}

impl Trouble {
    /// The user asked to stay on this machine's own network.
    pub fn not_on_host() -> Self {
        Trouble::Cannot {
            missing: said(
                "a network namespace of its own, and --on-host asks to do without",
                "自己的网络命名空间，而 --on-host 要求不用",
            ),
            unlock: said("run it without --on-host", "去掉 --on-host"),
        }
    }

    /// No network of our own.
    pub fn no_network(error: &io::Error) -> Self {
        Trouble::Cannot {
            missing: Said::from((
                format!("a network namespace of its own ({error})"),
                format!("自己的网络命名空间（{error}）"),
            )),
            unlock: said(
                "run it as root, or allow user namespaces: sysctl user.max_user_namespaces=1000, and on Ubuntu \
                 kernel.apparmor_restrict_unprivileged_userns=0; in a container add --cap-add=SYS_ADMIN",
                "用 root 运行，或允许用户命名空间：sysctl user.max_user_namespaces=1000，Ubuntu 上再加 \
                 kernel.apparmor_restrict_unprivileged_userns=0；容器里加 --cap-add=SYS_ADMIN",
            ),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Broken(error.to_string())
    }
}

/// One thing that was measured, and whether it is as expected.
#[derive(Debug)]
pub struct Fact {
    /// What was measured, in words.
    pub what: Said,
    /// What came out.
    pub measured: Said,
    /// What should have, where it did not.
    pub instead_of: Option<Said>,
    /// Whether it is as expected. A fact that nothing is expected of holds.
    pub holds: bool,
}

impl Fact {
    /// The whole sentence.
    pub fn sentence(&self, lang: crate::lang::Lang) -> String {
        let mut sentence = self.what.pick(lang).to_owned();
        if !self.measured.pick(lang).is_empty() {
            sentence += lang.pick(": ", "：");
            sentence += self.measured.pick(lang);
        }
        if let Some(expected) = &self.instead_of {
            sentence += lang.pick(", expected ", "，本应为 ");
            sentence += expected.pick(lang);
        }
        sentence
    }
}

/// An experiment that came to its end.
#[derive(Debug)]
pub struct Outcome {
    /// Which one.
    pub lab: &'static Lab,
    /// What was measured.
    pub facts: Vec<Fact>,
    /// What it looked like.
    pub pictures: Vec<Box<dyn Picture>>,
}

impl Outcome {
    /// Whether reality is as the page says. An experiment that measured nothing has shown nothing.
    pub fn held(&self) -> bool {
        !self.facts.is_empty() && self.facts.iter().all(|fact| fact.holds)
    }

    /// What was measured, in one string.
    pub fn observed(&self, lang: crate::lang::Lang) -> String {
        let sentences: Vec<String> = self.facts.iter().map(|fact| fact.sentence(lang)).collect();
        sentences.join(lang.pick("; ", "；"))
    }
}
