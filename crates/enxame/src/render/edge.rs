//! The matrix for the provider's firewall: for people, for programs, for spreadsheets.

use comfy_table::{Table, presets};
use enxame_core::areas::firewall::{Opening, Source};
use serde::Serialize;

/// A row of the matrix.
#[derive(Debug, Serialize)]
pub(crate) struct Row<'a> {
    protocol: &'static str,
    port: Option<u16>,
    source: &'a Source,
    purpose: &'a str,
}

/// The rows, as `--json` prints them.
pub(crate) fn rows(openings: &[Opening]) -> Vec<Row<'_>> {
    fn row(Opening { service, source, purpose }: &Opening) -> Row<'_> {
        Row { protocol: service.protocol(), port: service.port(), source, purpose: purpose.as_ref() }
    }
    openings.iter().map(row).collect()
}

/// The rows as a table.
pub(crate) fn table(openings: &[Opening]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["PROTOCOL", "PORT", "ACTION", "SOURCE", "FOR"]);
    for row in rows(openings) {
        let port = row.port.map_or("-".to_owned(), |port| port.to_string());
        table.add_row([row.protocol, &port, "accept", &row.source.to_string(), row.purpose]);
    }
    format!(
        "{}\n\nEverything else that comes in is to be dropped. The same rules for every node.\n",
        table.trim_fmt()
    )
}

/// The rows as CSV (RFC 4180), one line for each source.
///
/// # Errors
/// Never in practice: it is written to memory.
pub(crate) fn csv(openings: &[Opening]) -> anyhow::Result<String> {
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    csv.write_record(["protocol", "port", "action", "source", "for"])?;
    for row in rows(openings) {
        let port = row.port.map(|port| port.to_string()).unwrap_or_default();
        for source in row.source.texts() {
            csv.write_record([row.protocol, &port, "accept", &source, row.purpose])?;
        }
    }
    Ok(String::from_utf8(csv.into_inner()?)?)
}

#[cfg(test)]
mod tests {
    use enxame_core::areas::firewall::Firewall;
    use enxame_core::config::Config;

    use super::*;

    fn openings() -> Vec<Opening> {
        openings_with("")
    }

    fn openings_with(more: &str) -> Vec<Opening> {
        let text = "version: 1\ncluster: lab\nssh: {allow_from: [198.51.100.7, 198.51.100.64/26]}\nnodes:\n\
                    \x20 - {name: kvm2, address: 203.0.113.12}\n  - {name: kvm4, address: 203.0.113.14}\n";
        let config = Config::parse("cluster.yaml", &(text.to_owned() + more)).unwrap();
        Firewall::of(&config).at_the_edge(&[].into())
    }

    #[test]
    fn the_table_is_what_one_clicks_in() {
        insta::assert_snapshot!(table(&openings()));
    }

    #[test]
    fn a_full_mesh_is_a_row_of_any_protocol_from_the_nodes() {
        let openings = openings_with("firewall: {mesh: full}\n");
        let table = table(&openings);
        let of_nodes: Vec<Vec<&str>> = table
            .lines()
            .filter(|line| line.contains("203.0.113.12"))
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(of_nodes.len(), 2, "{table}");
        assert_eq!(of_nodes[0][..3], ["any", "-", "accept"]);
        assert_eq!(of_nodes[1][..3], ["ESP", "-", "accept"]);
        assert!(csv(&openings).unwrap().contains("any,,accept,203.0.113.14,everything between nodes\r\n"));
    }

    #[test]
    fn a_line_of_csv_has_one_source() {
        insta::assert_snapshot!(csv(&openings()).unwrap().replace("\r\n", "\n"));
    }
}
