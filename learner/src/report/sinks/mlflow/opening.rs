//! The first requests of a process: the experiment, the run, its settings. Each of them may fail, and then the next try goes on where this
//! one came to.

use super::api::batch::{Batch, ENTRIES_MAX, Entry, PARAM_CHARS_MAX};
use super::api::error::{ApiError, readable};
use super::api::{Client, Run, RunInfo, Status};
use super::introduction::Introduction;
use super::now;
use crate::run::tracked_run::{TrackedRun, is_id};

/// The way to an open run.
#[derive(Debug)]
pub(super) struct Opening {
    introduction: Introduction,
    experiment_id: Option<String>,
    /// A run was asked for, and may be there though no answer said so.
    may_be_created: bool,
    run: Option<Run>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct OpenRun {
    pub(super) tracked: TrackedRun,
    /// Where its artefacts lie, as a URI.
    pub(super) artifact_uri: String,
}

impl Opening {
    pub(super) fn new(introduction: Introduction) -> Self {
        Self { introduction, experiment_id: None, may_be_created: false, run: None }
    }

    /// Goes on towards an open run, and gives it when its settings are there too.
    ///
    /// # Errors
    /// A request failed.
    pub(super) async fn go_on(&mut self, client: &Client) -> Result<OpenRun, ApiError> {
        if self.run.is_none() {
            self.run = match self.resume(client).await? {
                Some(run) => Some(run),
                None => Some(self.begin(client).await?),
            };
        }
        let run = self.run.as_ref().expect("it was just found or created");
        let RunInfo { run_id, experiment_id, artifact_uri, .. } = run.info.clone();
        if let Some(odd) = [&run_id, &experiment_id].into_iter().find(|id| !is_id(id)) {
            self.run = None;
            return Err(ApiError::Stranger(readable(&format!("{odd:?} as the name of a run or an experiment"))));
        }
        self.describe(client, run).await?;
        Ok(OpenRun { tracked: TrackedRun { server: client.server().to_owned(), experiment_id, run_id }, artifact_uri })
    }

    /// The run of an earlier process, if this server has it.
    async fn resume(&mut self, client: &Client) -> Result<Option<Run>, ApiError> {
        let Some(earlier) = &self.introduction.earlier else { return Ok(None) };
        let is_here = earlier.server == client.server();
        let run = if is_here { client.run(&earlier.run_id).await? } else { None };
        match &run {
            Some(run) => client.update_run(&run.info.run_id, Status::Running, None).await?,
            None => {
                let TrackedRun { server, run_id, .. } = earlier;
                tracing::info!(
                    "MLflow: the earlier run {run_id} at {server} is not at {}; a new one begins",
                    client.server()
                );
                self.introduction.tags.push(Entry::tag("impala.continues", &format!("{run_id} at {server}")));
                self.introduction.earlier = None;
            }
        }
        Ok(run)
    }

    async fn begin(&mut self, client: &Client) -> Result<Run, ApiError> {
        let Introduction { experiment, name, tags, key, .. } = &self.introduction;
        let experiment_id = match &self.experiment_id {
            Some(id) => id.clone(),
            None => self.experiment_id.insert(experiment_at(client, experiment).await?).clone(),
        };
        if self.may_be_created
            && let Some(run) = client.run_with_tag(&experiment_id, key).await?
        {
            return Ok(run);
        }
        self.may_be_created = true;
        // Servers of before take the name from a tag.
        let own = [key.clone(), Entry::tag("mlflow.runName", name)];
        let tags: Vec<_> = tags.iter().cloned().chain(own).collect();
        client.create_run(&experiment_id, name, now(), &tags).await
    }

    /// Tells the settings. What the run has from an earlier process cannot be changed there: what is different now becomes a tag, and a tag
    /// of before gets the value of now, also where that is the first one again.
    async fn describe(&self, client: &Client, run: &Run) -> Result<(), ApiError> {
        let Introduction { params, tags, earlier, .. } = &self.introduction;
        let before = |key: &str| run.data.params.iter().find(|param| param.key == key);
        let new: Vec<_> = params.iter().filter(|param| before(&param.key).is_none()).cloned().collect();
        let changed = params.iter().filter_map(|param| {
            let tag = Entry::tag(format!("impala.resumed.{}", param.key), &param.value);
            let is_other = before(&param.key).is_some_and(|before| !param.is_kept_as(&before.value));
            (is_other || run.data.tags.iter().any(|before| before.key == tag.key)).then_some(tag)
        });
        // A run that was created has its tags from the beginning.
        let tags = tags.iter().filter(|_| earlier.is_some()).cloned().chain(changed).collect::<Vec<_>>();
        for tags in tags.chunks(ENTRIES_MAX) {
            client.log(&run.info.run_id, &Batch { tags: tags.to_vec(), ..Batch::default() }).await?;
        }
        let mut told = Ok(());
        // An older server takes shorter values.
        for chars_max in PARAM_CHARS_MAX {
            told = self.tell_params(client, &run.info.run_id, &new, chars_max).await;
            match &told {
                Err(error) if !error.may_pass() && !error.needs_help() => {}
                _ => return told,
            }
        }
        // A run without settings is better than none.
        tracing::warn!("MLflow: the settings are not there: {}", told.expect_err("it was refused each time"));
        Ok(())
    }

    async fn tell_params(
        &self,
        client: &Client,
        run_id: &str,
        params: &[Entry],
        chars_max: usize,
    ) -> Result<(), ApiError> {
        for batch in Batch::of_params(params, chars_max) {
            client.log(run_id, &batch).await?;
        }
        Ok(())
    }
}

/// The experiment of this name, which is created if there is none.
async fn experiment_at(client: &Client, name: &str) -> Result<String, ApiError> {
    if let Some(id) = client.experiment(name).await? {
        return Ok(id);
    }
    client.create_experiment(name).await?;
    let created = client.experiment(name).await?;
    created.ok_or_else(|| ApiError::NoAnswer("the experiment that was just created is not there".into()))
}
