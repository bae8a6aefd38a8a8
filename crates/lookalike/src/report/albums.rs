//! The report's groups: a typical picture of each.

use std::fmt::Write as _;

use super::Page;
use crate::Error;
use crate::groups::Groups;

/// Groups that are shown, the largest.
const GROUPS: usize = 40;

impl Page<'_> {
    /// The largest groups, each by the picture in its middle.
    pub(super) fn albums(&mut self, found: &Groups) -> Result<(), Error> {
        let _ = writeln!(
            self.html,
            "<h2>Groups</h2><p>{} groups of what looks alike, found without labels; {} images are in \
             none. Of each group the picture in its middle, and how many it has; a name is the label \
             that most of them have.</p>",
            found.groups.len(),
            found.ungrouped
        );
        let shown = &found.groups[..found.groups.len().min(GROUPS)];
        let middle = |group: &crate::groups::Group| group.typical.first().copied();
        let payloads = self.payloads(shown.iter().filter_map(middle))?;
        self.html.push_str("<div class=\"row\" id=\"groups\">");
        for group in shown {
            let name = match &group.name {
                Some(name) => format!("{}: {name}", group.number),
                None => group.number.to_string(),
            };
            let images = if group.size == 1 { "image" } else { "images" };
            let caption = format!("Group {name}, {} {images}", group.size);
            if let Some(payload) = middle(group).and_then(|id| payloads.get(&id)) {
                self.figure(payload, &caption);
            }
        }
        if let more @ 1.. = found.groups.len() - shown.len() {
            let _ = write!(self.html, "<span>and {more} smaller ones</span>");
        }
        self.html.push_str("</div>\n");
        Ok(())
    }
}
