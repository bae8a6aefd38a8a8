//! Which faults there are, and which request meets which.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tonic::Code;

/// What is done to requests. Each kind of fault has a probability of its own, from 0 to 1, that any
/// one request meets it.
///
/// A request may be delayed, duplicated and have its reply delayed; of the other faults it meets
/// one at most.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// What the fates of requests follow from: those of the same number, in the order of their
    /// coming, are the same.
    pub seed: u64,
    /// The request waits before it is passed on.
    pub delay: f64,
    /// The reply waits before it is passed on.
    pub delay_reply: f64,
    /// The request is refused with one of the `codes`, and not passed on.
    pub refuse: f64,
    /// The request is passed on and done, but the reply is one of the `codes`.
    pub lose_reply: f64,
    /// The connection is cut, with all that is under way on it; the request is not passed on.
    pub cut_before: f64,
    /// The connection is cut, with all that is under way on it, after the request was passed on and
    /// done.
    pub cut_after: f64,
    /// The request is passed on twice, the second after the first is done; the reply is that to the
    /// first.
    pub duplicate: f64,
    /// The request is passed on once more later, when the reply to the first has perhaps long been
    /// read.
    pub duplicate_late: f64,
    /// The reply is held until one to a later request has gone out, but no longer than
    /// `max_hold`.
    pub reorder: f64,
    /// The request is passed on and done, but the reply is no message of the protocol.
    pub garble: f64,
    /// The request is passed on and done, but the reply ends in the middle.
    pub truncate: f64,
    /// What requests are refused with, each as likely as the others.
    pub codes: Vec<Code>,
    /// Seconds that those are told to wait who are refused with `ResourceExhausted`.
    pub retry_after: u32,
    /// Delays, and the times until late duplicates, are between nothing and this.
    pub max_delay: Duration,
    /// How long a reply waits for a later one to go out first.
    pub max_hold: Duration,
    /// Requests that contain these bytes are refused with `InvalidArgument`, always and before all
    /// else.
    pub poison: Option<Vec<u8>>,
    /// Only requests for these methods, such as `Points/Upsert`, meet faults.
    pub only_methods: Option<Vec<String>>,
    /// After so many faults there are no more, but for the poison.
    pub at_most: Option<u64>,
}

/// Something that was done to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// It contained the poison and was refused with `InvalidArgument`.
    Poisoned,
    /// It waited before it was passed on.
    Delayed(Duration),
    /// It was passed on twice.
    Duplicated,
    /// It was passed on again so long after it was done.
    DuplicatedLate(Duration),
    /// The reply waited.
    ReplyDelayed(Duration),
    /// It was refused and not passed on.
    Refused(Code),
    /// It was done, but the reply said this.
    ReplyLost(Code),
    /// The connection was cut; it was not passed on.
    CutBefore,
    /// The connection was cut after it was done.
    CutAfter,
    /// The reply waited for one to a later request.
    Reordered,
    /// It was done, but the reply was garbage.
    Garbled,
    /// It was done, but the reply ended in the middle.
    Truncated,
}

impl Faults {
    /// Everything passes.
    pub fn none() -> Self {
        Self {
            seed: 0,
            delay: 0.0,
            delay_reply: 0.0,
            refuse: 0.0,
            lose_reply: 0.0,
            cut_before: 0.0,
            cut_after: 0.0,
            duplicate: 0.0,
            duplicate_late: 0.0,
            reorder: 0.0,
            garble: 0.0,
            truncate: 0.0,
            codes: vec![
                Code::Unavailable,
                Code::DeadlineExceeded,
                Code::ResourceExhausted,
                Code::Aborted,
                Code::Internal,
            ],
            retry_after: 1,
            max_delay: Duration::from_millis(50),
            max_hold: Duration::from_millis(100),
            poison: None,
            only_methods: None,
            at_most: None,
        }
    }

    /// Every kind of fault but the poison, each with the same probability.
    pub fn all(seed: u64, probability: f64) -> Self {
        Self {
            seed,
            delay: probability,
            delay_reply: probability,
            refuse: probability,
            lose_reply: probability,
            cut_before: probability,
            cut_after: probability,
            duplicate: probability,
            duplicate_late: probability,
            reorder: probability,
            garble: probability,
            truncate: probability,
            ..Self::none()
        }
    }

    /// Every request is refused with this.
    pub fn always(code: Code) -> Self {
        Self {
            refuse: 1.0,
            codes: vec![code],
            ..Self::none()
        }
    }

    /// Requests that contain these bytes, such as the id of a point, are refused with
    /// `InvalidArgument`.
    pub fn poison(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            poison: Some(bytes.into()),
            ..Self::none()
        }
    }

    /// The same, but only for these methods, such as `Points/Upsert`.
    pub fn only(self, methods: &[&str]) -> Self {
        Self {
            only_methods: Some(methods.iter().map(|&method| method.to_owned()).collect()),
            ..self
        }
    }

    /// The same, but no more than so many faults.
    pub fn at_most(self, faults: u64) -> Self {
        Self {
            at_most: Some(faults),
            ..self
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

/// Decides what is done to each request.
pub(super) struct Fates {
    pub faults: Faults,
    random: ChaCha8Rng,
    /// Faults so far.
    count: u64,
}

impl Fates {
    pub fn new(faults: Faults) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(faults.seed),
            faults,
            count: 0,
        }
    }

    /// What is done to the next request.
    pub fn next(&mut self, method: &str, body: &[u8]) -> Vec<Fault> {
        let only = self.faults.only_methods.as_ref();
        if only.is_some_and(|only| !only.iter().any(|one| one == method)) {
            return Vec::new();
        }
        let poison = self.faults.poison.as_deref();
        if poison.is_some_and(|poison| contains(body, poison)) {
            return vec![Fault::Poisoned];
        }
        let mut met = self.draw();
        let left = self
            .faults
            .at_most
            .map_or(u64::MAX, |most| most.saturating_sub(self.count));
        met.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        self.count += met.len() as u64;
        met
    }

    /// As many numbers are drawn for each request, whatever it meets.
    fn draw(&mut self) -> Vec<Fault> {
        let Self { faults, random, .. } = self;
        let mut chance = |probability: f64| random.random::<f64>() < probability;
        let (delay, delay_reply) = (chance(faults.delay), chance(faults.delay_reply));
        let (twice, late) = (chance(faults.duplicate), chance(faults.duplicate_late));
        let ends = [
            chance(faults.refuse),
            chance(faults.lose_reply),
            chance(faults.cut_before),
            chance(faults.cut_after),
            chance(faults.reorder),
            chance(faults.garble),
            chance(faults.truncate),
        ];
        let mut some = || faults.max_delay.mul_f64(random.random());
        let (delayed, reply_delayed, later) = (some(), some(), some());
        let code = choose(&faults.codes, random.random()).unwrap_or(Code::Unavailable);
        let which: f64 = random.random();
        let ends: Vec<Fault> = [
            Fault::Refused(code),
            Fault::ReplyLost(code),
            Fault::CutBefore,
            Fault::CutAfter,
            Fault::Reordered,
            Fault::Garbled,
            Fault::Truncated,
        ]
        .into_iter()
        .zip(ends)
        .filter_map(|(end, met)| met.then_some(end))
        .collect();
        let end = choose(&ends, which);

        let mut met = Vec::new();
        if delay {
            met.push(Fault::Delayed(delayed));
        }
        // What is not passed on cannot be passed on twice.
        if !matches!(end, Some(Fault::Refused(_) | Fault::CutBefore)) {
            if twice {
                met.push(Fault::Duplicated);
            }
            if late {
                met.push(Fault::DuplicatedLate(later));
            }
            if delay_reply {
                met.push(Fault::ReplyDelayed(reply_delayed));
            }
        }
        met.extend(end);
        met
    }
}

fn choose<T: Copy>(of: &[T], which: f64) -> Option<T> {
    of.get((which * of.len() as f64) as usize).copied()
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    part.is_empty() || body.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(faults: &Faults, requests: usize) -> Vec<Vec<Fault>> {
        let mut fates = Fates::new(faults.clone());
        (0..requests)
            .map(|_| fates.next("Points/Upsert", b"body"))
            .collect()
    }

    #[test]
    fn fates_follow_from_the_seed() {
        let faults = Faults::all(1, 0.3);
        assert_eq!(fates(&faults, 100), fates(&faults, 100));
        assert_ne!(fates(&faults, 100), fates(&Faults::all(2, 0.3), 100));
        assert!(fates(&Faults::all(1, 0.0), 100).concat().is_empty());
    }

    #[test]
    fn each_kind_is_met_as_often_as_it_was_said() {
        let requests = 10_000;
        for (faults, kind) in [
            (
                Faults {
                    delay: 0.2,
                    ..Faults::none()
                },
                Fault::Delayed(Duration::ZERO),
            ),
            (
                Faults {
                    delay_reply: 0.2,
                    ..Faults::none()
                },
                Fault::ReplyDelayed(Duration::ZERO),
            ),
            (
                Faults {
                    refuse: 0.2,
                    ..Faults::none()
                },
                Fault::Refused(Code::Ok),
            ),
            (
                Faults {
                    lose_reply: 0.2,
                    ..Faults::none()
                },
                Fault::ReplyLost(Code::Ok),
            ),
            (
                Faults {
                    cut_before: 0.2,
                    ..Faults::none()
                },
                Fault::CutBefore,
            ),
            (
                Faults {
                    cut_after: 0.2,
                    ..Faults::none()
                },
                Fault::CutAfter,
            ),
            (
                Faults {
                    duplicate: 0.2,
                    ..Faults::none()
                },
                Fault::Duplicated,
            ),
            (
                Faults {
                    duplicate_late: 0.2,
                    ..Faults::none()
                },
                Fault::DuplicatedLate(Duration::ZERO),
            ),
            (
                Faults {
                    reorder: 0.2,
                    ..Faults::none()
                },
                Fault::Reordered,
            ),
            (
                Faults {
                    garble: 0.2,
                    ..Faults::none()
                },
                Fault::Garbled,
            ),
            (
                Faults {
                    truncate: 0.2,
                    ..Faults::none()
                },
                Fault::Truncated,
            ),
        ] {
            let met = fates(&faults, requests).concat();
            let same =
                |fault: &Fault| std::mem::discriminant(fault) == std::mem::discriminant(&kind);
            assert!(met.iter().all(same), "{kind:?}");
            // Four standard deviations.
            assert!(
                met.len().abs_diff(requests / 5) < 160,
                "{kind:?}: {}",
                met.len()
            );
        }
        let all = fates(&Faults::all(7, 0.2), requests).concat();
        for code in Faults::none().codes {
            assert!(all.contains(&Fault::Refused(code)) && all.contains(&Fault::ReplyLost(code)));
        }
    }

    #[test]
    fn no_more_faults_than_were_said() {
        let faults = Faults::all(3, 0.5).at_most(5);
        assert_eq!(fates(&faults, 100).concat().len(), 5);
        let mut fates = Fates::new(Faults::always(Code::Aborted).only(&["Points/Get"]));
        assert!(fates.next("Points/Upsert", b"").is_empty());
        assert_eq!(
            fates.next("Points/Get", b""),
            [Fault::Refused(Code::Aborted)]
        );
    }
}
