//! The tags of an event file besides the [series of numbers](crate::report::series): distributions and the configuration.

use crate::report::series::Tag;

/// Distributions of what came since the one before.
pub(super) const LAGS: Tag = Tag {
    name: "lag/updates",
    column: "",
    meaning: "Updates between the policy that made a trajectory and the one that trained it, of each trajectory since the histogram before",
};
pub(super) const RETURNS: Tag = Tag {
    name: "return/episodes",
    column: "",
    meaning: "Returns of the episodes that came to count since the histogram before",
};

/// Of each block of the network, whose name follows.
pub(super) const PARAMETERS: Tag =
    Tag { name: "parameters/", column: "", meaning: "Parameters of a layer, by the names of `model.safetensors`" };
pub(super) const GRADIENT: Tag =
    Tag { name: "gradient/", column: "", meaning: "Gradient of a layer in one update, after clipping and scaling" };

/// The configuration.
pub(super) const CONFIG: Tag =
    Tag { name: "config", column: "", meaning: "The configuration as it stands in `config.toml`" };

/// The series of distributions; a name that ends with `/` is followed by that of a layer.
pub fn histograms() -> impl Iterator<Item = Tag> {
    [RETURNS, LAGS, PARAMETERS, GRADIENT].into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::series::scalars;
    use std::collections::BTreeSet;

    #[test]
    fn tags_are_different_and_have_a_group() {
        let names: Vec<_> = scalars().chain(histograms()).map(|tag| tag.name).collect();
        assert!(names.iter().all(|name| name.contains('/')));
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }
}
