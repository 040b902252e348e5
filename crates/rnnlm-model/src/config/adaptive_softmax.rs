//! The settings of the adaptive softmax: `torch.nn.AdaptiveLogSoftmaxWithLoss`.

use serde::{Deserialize, Serialize};

use super::defaults::is_default;
use crate::{Error, Result};

/// The most cutoffs. PyTorch's documentation has 2 to 3; the bound keeps the number of tensors in a file small.
const MAX_CUTOFFS: usize = 64;
/// The setting in messages.
const NAME: &str = "adaptive_softmax";

/// The settings of an adaptive softmax, with the names and the defaults of `torch.nn.AdaptiveLogSoftmaxWithLoss`. Tokens must
/// have ids by descending frequency.
///
/// The most frequent tokens, below the first cutoff, are the shortlist. The others are in clusters: cluster `i` has the ids
/// from cutoff `i` to the next one or **V**.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveSoftmax {
    /// The first id of each cluster, in ascending order.
    pub cutoffs: Vec<usize>,
    /// Cluster `i` has `in_features / div_valueⁱ⁺¹` features, rounded down; at least 1.
    #[serde(default = "default_div_value", skip_serializing_if = "is_default_div_value")]
    pub div_value: f64,
    /// Whether the head has a bias.
    #[serde(default, skip_serializing_if = "is_default")]
    pub head_bias: bool,
}

/// One cluster of an adaptive softmax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// Its first token.
    pub(crate) first: usize,
    /// The number of its tokens.
    pub(crate) size: usize,
    /// The features that its tokens are predicted from.
    pub(crate) features: usize,
}

fn default_div_value() -> f64 {
    AdaptiveSoftmax::DEFAULT_DIV_VALUE
}

fn is_default_div_value(value: &f64) -> bool {
    *value == AdaptiveSoftmax::DEFAULT_DIV_VALUE
}

impl AdaptiveSoftmax {
    /// PyTorch's default of `div_value`.
    pub const DEFAULT_DIV_VALUE: f64 = 4.0;

    /// An adaptive softmax with these cutoffs and PyTorch's defaults.
    pub fn new(cutoffs: Vec<usize>) -> Self {
        Self { cutoffs, div_value: Self::DEFAULT_DIV_VALUE, head_bias: false }
    }

    /// The number of tokens in the shortlist: the first cutoff.
    pub fn shortlist(&self) -> usize {
        self.cutoffs.first().copied().unwrap_or(0)
    }

    /// The number of classes of the head: the shortlist and the clusters.
    pub(crate) fn head_size(&self) -> usize {
        self.shortlist() + self.cutoffs.len()
    }

    /// The clusters for a vocabulary of `vocab_size` tokens and an input of `in_features`.
    pub(crate) fn clusters(&self, in_features: usize, vocab_size: usize) -> impl ExactSizeIterator<Item = Cluster> {
        self.cutoffs.iter().enumerate().map(move |(index, &first)| {
            let divisor = libm::pow(self.div_value, (index + 1) as f64);
            let end = self.cutoffs.get(index + 1).copied().unwrap_or(vocab_size);
            // PyTorch: int(in_features // div_value ** (i + 1))
            let features = (in_features as f64 / divisor).floor() as usize;
            Cluster { first, size: end.saturating_sub(first), features }
        })
    }

    /// The settings of clusters with these sizes and features; `None` if no `div_value` gives them.
    pub(crate) fn of_clusters(
        in_features: usize,
        shortlist: usize,
        clusters: &[[usize; 2]],
        head_bias: bool,
    ) -> Option<Self> {
        let sizes = clusters.iter().scan(shortlist, |first, [size, _]| {
            let cutoff = *first;
            *first += size;
            Some(cutoff)
        });
        let cutoffs: Vec<usize> = sizes.collect();
        let vocab_size = shortlist + clusters.iter().map(|[size, _]| size).sum::<usize>();
        let of = |div_value| Self { cutoffs: cutoffs.clone(), div_value, head_bias };
        let matches = |softmax: &Self| {
            let features = softmax.clusters(in_features, vocab_size).map(|cluster| cluster.features);
            features.eq(clusters.iter().map(|&[_, features]| features))
        };
        // features f of cluster i: (in / (f + 1))^(1 / (i + 1)) < div_value ≤ (in / f)^(1 / (i + 1))
        let bound =
            |index: usize, features: usize| libm::pow(in_features as f64 / features as f64, 1.0 / (index + 1) as f64);
        let features = || clusters.iter().map(|[_, features]| *features).enumerate();
        let low = features().map(|(index, features)| bound(index, features + 1)).fold(1.0, f64::max);
        let high = features().map(|(index, features)| bound(index, features)).fold(f64::INFINITY, f64::min);
        // the default, else the shortest number
        let rounded = [1.0, 2.0, 10.0, 100.0, 1000.0].map(|scale| (high * scale).floor() / scale);
        let candidates = [Self::DEFAULT_DIV_VALUE].into_iter().chain(rounded).chain([high, (low + high) / 2.0]);
        candidates.map(of).find(matches)
    }

    /// Checks the settings that do not depend on the model.
    ///
    /// # Errors
    /// [`Error::Setting`] with the cutoff, and the one before it if it is not above that; or with `div_value`.
    pub fn validate(&self) -> Result<()> {
        let invalid = |value: String, needed| Err(Error::Setting { name: NAME, value, needed });
        if self.cutoffs.is_empty() {
            return invalid("without cutoffs".to_owned(), "one or more cutoffs in ascending order");
        }
        if self.cutoffs.len() > MAX_CUTOFFS {
            return invalid(format!("a list of {} cutoffs", self.cutoffs.len()), "at most 64 cutoffs");
        }
        if self.cutoffs[0] == 0 {
            return invalid("0 for the first cutoff".to_owned(), "at least 1");
        }
        let mut pairs = self.cutoffs.windows(2);
        if let Some(pair) = pairs.find(|pair| pair[0] >= pair[1]) {
            let needed = match pair[0] == pair[1] {
                true => "a list of distinct cutoffs",
                false => "a list of cutoffs in ascending order",
            };
            return invalid(format!("{} after {}", pair[1], pair[0]), needed);
        }
        if !(self.div_value.is_finite() && self.div_value >= 1.0) {
            let value = self.div_value.to_string();
            return Err(Error::Setting { name: "div_value", value, needed: "a finite number of at least 1" });
        }
        Ok(())
    }

    /// Checks the settings for a model with this vocabulary size and this number of features of the layers' output.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first cutoff that is not below the vocabulary size, or the first cluster without features.
    pub(crate) fn validate_for(&self, in_features: usize, vocab_size: usize) -> Result<()> {
        self.validate()?;
        if let Some(cutoff) = self.cutoffs.iter().find(|&&cutoff| cutoff >= vocab_size) {
            let value = format!("{cutoff} with a vocabulary of {vocab_size}");
            return Err(Error::Setting { name: NAME, value, needed: "a list of cutoffs below the vocabulary size" });
        }
        if self.clusters(in_features, vocab_size).any(|cluster| cluster.features == 0) {
            let Self { div_value, cutoffs, .. } = self;
            let value =
                format!("{div_value} with {} clusters and {in_features} features of the layers' output", cutoffs.len());
            return Err(Error::Setting {
                name: "div_value",
                value,
                needed: "so small that each cluster has a feature",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_have_the_sizes_of_pytorch() {
        // AdaptiveLogSoftmaxWithLoss(650, 10000, [2000, 5000]): tails of 162 and 40 features
        let clusters: Vec<Cluster> = AdaptiveSoftmax::new(vec![2000, 5000]).clusters(650, 10_000).collect();
        let expected = [(2000, 3000, 162), (5000, 5000, 40)];
        assert_eq!(clusters, expected.map(|(first, size, features)| Cluster { first, size, features }));
        assert_eq!(AdaptiveSoftmax::new(vec![2000, 5000]).head_size(), 2002);
    }

    #[test]
    fn settings_are_inferred_from_the_clusters() {
        for (in_features, vocab_size, cutoffs, div_value) in [
            (650, 10_000, &[2000, 5000][..], 4.0),
            (18, 19, &[5, 11, 18], 2.5),
            (100, 50, &[10, 20], 3.0),
            (100, 50, &[10, 20], 3.21),
            (7, 50, &[10], 1.0),
        ] {
            let softmax = AdaptiveSoftmax { div_value, ..AdaptiveSoftmax::new(cutoffs.to_vec()) };
            let sizes = |softmax: &AdaptiveSoftmax| {
                let clusters = softmax.clusters(in_features, vocab_size);
                clusters.map(|cluster| [cluster.size, cluster.features]).collect::<Vec<_>>()
            };
            let found = AdaptiveSoftmax::of_clusters(in_features, cutoffs[0], &sizes(&softmax), false).unwrap();
            assert_eq!((&found.cutoffs, sizes(&found)), (&softmax.cutoffs, sizes(&softmax)), "{}", found.div_value);
        }
        // features that grow
        assert_eq!(AdaptiveSoftmax::of_clusters(16, 2, &[[3, 4], [3, 8]], false), None);
    }

    #[test]
    fn invalid_cutoffs_are_refused_with_both_values() {
        let softmax = |cutoffs: &[usize]| AdaptiveSoftmax::new(cutoffs.to_vec());
        assert!(softmax(&[2, 5]).validate_for(16, 6).is_ok());
        for (settings, text) in [
            (softmax(&[5, 2]), "`adaptive_softmax` is 2 after 5, it must be a list of cutoffs in ascending order"),
            (softmax(&[2, 2]), "`adaptive_softmax` is 2 after 2, it must be a list of distinct cutoffs"),
            (softmax(&[2, 6]), "`adaptive_softmax` is 6 with a vocabulary of 6, it must be a list of cutoffs below"),
            (softmax(&[0, 6]), "`adaptive_softmax` is 0 for the first cutoff, it must be at least 1"),
            (softmax(&[]), "`adaptive_softmax` is without cutoffs"),
            (AdaptiveSoftmax { div_value: 0.5, ..softmax(&[2]) }, "`div_value` is 0.5"),
            (AdaptiveSoftmax { div_value: f64::NAN, ..softmax(&[2]) }, "`div_value` is NaN"),
            (AdaptiveSoftmax { div_value: 17.0, ..softmax(&[2]) }, "`div_value` is 17 with 1 clusters and 16 features"),
        ] {
            let error = settings.validate_for(16, 6).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
    }
}
