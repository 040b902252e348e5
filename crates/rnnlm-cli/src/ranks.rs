//! The processes that train one model: this one alone, or the ranks that an MPI launcher started. Rank 0 writes and prints.

pub(crate) mod args;
mod local;
#[cfg_attr(not(feature = "mpi"), path = "ranks/without_mpi.rs")]
mod mpi;

use std::sync::Arc;
use std::time::Duration;

use rnnlm_model::{Collective, RunConfig, RunOptions, RunWriter, Single, TrainConfig, differences};
use rnnlm_rnn::Recurrence;
use rnnlm_vocab::Vocab;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use self::args::RankArgs;
use self::local::Local;
use crate::args::{Compute, Device};
use crate::compute;
use crate::failure::{Exit, Failure, Result};
use crate::progress::{self, error_line};
use crate::report::report;

/// How long another rank than 0 waits before it prints an error: rank 0 usually has the same one, and ends all ranks.
const ERROR_DELAY: Duration = Duration::from_secs(2);

/// The processes of a training run.
#[derive(Debug)]
pub(crate) struct Ranks {
    collective: Arc<dyn Collective>,
    mpi: Option<mpi::Handle>,
    local: Local,
}

/// What all ranks must have in common.
#[derive(Serialize)]
struct Common<'a> {
    program: &'static str,
    device: &'static str,
    #[serde(flatten)]
    config: &'a RunConfig,
    /// SHA-256 of the initial parameters.
    parameters: String,
}

impl Ranks {
    /// Starts MPI if a launcher started several processes.
    ///
    /// # Errors
    /// If MPI cannot be used.
    pub(crate) fn start(args: &RankArgs) -> Result<Self> {
        let Some((handle, collective)) = mpi::start(args)? else {
            return Ok(Self { collective: Arc::new(Single), mpi: None, local: Local::default() });
        };
        if collective.rank() > 0 {
            progress::set_silent(true);
        }
        let local = Local::find(&*collective)?;
        Ok(Self { collective, mpi: Some(handle), local })
    }

    /// Runs the command on this rank. After an error on one rank, all ranks end.
    pub(crate) fn run(&self, command: impl FnOnce() -> Result<Exit>) -> Result<Exit> {
        if let Some(mpi) = &self.mpi
            && self.is_first()
            && !progress::is_quiet()
        {
            error_line(&format!("ranks   {}, {}", self.size(), mpi.describe()));
        }
        let outcome = command();
        let Some(mpi) = &self.mpi else { return outcome };
        match outcome {
            // every rank diverges at the same step
            Err(failure @ Failure::Diverged { .. }) => {
                mpi.finish()?;
                if self.is_first() { Err(failure) } else { Ok(Exit::Diverged) }
            }
            Err(failure) => {
                if !self.is_first() {
                    std::thread::sleep(ERROR_DELAY);
                    progress::set_silent(false);
                    error_line(&format!("rank {} ends the run:", self.collective.rank()));
                }
                let exit = report(&failure);
                self.collective.abort(exit as i32);
                Ok(exit)
            }
            Ok(exit) => {
                mpi.finish()?;
                Ok(exit)
            }
        }
    }

    /// The exchange between the ranks.
    pub(crate) fn collective(&self) -> Arc<dyn Collective> {
        self.collective.clone()
    }

    /// The number of ranks.
    pub(crate) fn size(&self) -> usize {
        self.collective.size()
    }

    /// Whether this is rank 0.
    pub(crate) fn is_first(&self) -> bool {
        self.collective.rank() == 0
    }

    /// Whether `value` is true on any rank.
    pub(crate) fn any(&self, value: bool) -> Result<bool> {
        Ok(self.collective.any(value).map_err(rnnlm_model::Error::from)?)
    }

    /// Like [`Ranks::any`], true after a failed exchange.
    pub(crate) fn stops(&self, value: bool) -> bool {
        self.any(value).unwrap_or(true)
    }

    /// Calls `read` on rank 0, then on the others: what rank 0 downloads or caches is there for them.
    pub(crate) fn first_then_others<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        let barrier = || self.collective.barrier().map_err(rnnlm_model::Error::from);
        if self.is_first() {
            let value = read()?;
            barrier()?;
            return Ok(value);
        }
        barrier()?;
        read()
    }

    /// Sets what the user left to the program: the threads are divided among the ranks of a machine, and so are its GPUs.
    pub(crate) fn set_defaults(&self, compute: &mut Compute) {
        if compute.threads == 0 {
            compute.threads = self.local.threads();
        }
        if compute.device == Device::Auto
            && let Ok(gpus) = compute::list_gpus()
            && !gpus.is_empty()
        {
            compute.device = Device::Cuda(self.local.index() % gpus.len());
        }
    }

    /// The settings of a run with this rank's part of a minibatch, for an estimate of its memory.
    pub(crate) fn own_part(&self, train: &TrainConfig) -> TrainConfig {
        let shards = train.shards.div_ceil(self.size());
        TrainConfig { batch_size: train.batch_size / train.shards.max(1) * shards, shards, ..train.clone() }
    }

    /// The settings and the vocabulary of a run that is resumed, which rank 0 reads.
    pub(crate) fn share_run(&self, writer: Option<&RunWriter>) -> Result<(RunConfig, Vocab)> {
        if let (Some(writer), 1) = (writer, self.size()) {
            return Ok((writer.config().clone(), writer.run().vocab().clone()));
        }
        let texts = writer.map(|writer| {
            let config = serde_json::to_vec(writer.config()).expect("plain values are valid JSON");
            Ok::<_, rnnlm_model::Error>([config, writer.run().vocab().to_json()?.into_bytes()])
        });
        let [config, vocab] = texts.transpose()?.unwrap_or_default();
        let [config, vocab] = [config, vocab].map(|bytes| self.collective.broadcast(&bytes));
        let config = serde_json::from_slice(&config.map_err(rnnlm_model::Error::from)?);
        let config = config.map_err(|error| Failure::failed(format!("rank 0 sent no valid settings: {error}")))?;
        Ok((config, Vocab::from_json(&vocab.map_err(rnnlm_model::Error::from)?)?))
    }

    /// An error, with both values, unless program, device, text, settings and initial parameters are those of rank 0.
    pub(crate) fn agree<B: Recurrence>(&self, config: &RunConfig, parameters: &[f32]) -> Result<()> {
        if self.size() == 1 {
            return Ok(());
        }
        let mut config = RunConfig { options: RunOptions::default(), ..config.clone() };
        config.corpus.name = String::new();
        let mut hasher = Sha256::new();
        parameters.iter().for_each(|value| hasher.update(value.to_le_bytes()));
        let common = Common {
            program: concat!("rnnlm ", env!("CARGO_PKG_VERSION")),
            device: if compute::is_cpu::<B>() { "cpu" } else { "cuda" },
            config: &config,
            parameters: hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let own = serde_json::to_vec(&common).expect("plain values are valid JSON");
        let all = self.collective.gather_all(&own).map_err(rnnlm_model::Error::from)?;
        let values: Vec<Value> = all.iter().map(|json| serde_json::from_slice(json).unwrap_or_default()).collect();
        for (rank, value) in values.iter().enumerate() {
            if let Some(difference) = differences(value, &values[0]).first() {
                let (name, [other, first]) = (&difference.name, [&difference.first, &difference.second]);
                let message = format!("rank {rank} has {other} as `{name}`, and rank 0 has {first}");
                let hint = "start all ranks with the same program, settings, text and kind of device";
                return Err(Failure::usage(message).with_hint(hint));
            }
        }
        Ok(())
    }
}
