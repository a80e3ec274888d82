//! A rule of iptables', taken apart into its options as `iptables -S` and `iptables-save` print them.
//!
//! Pure. Invariant: what stands in a comment is never taken for an option, whatever it looks like.

/// A rule, without the chain that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What a packet must be like; all of it must hold.
    pub conditions: Vec<Condition>,
    /// What becomes of it then.
    pub target: Target,
}

/// An option that a packet is judged by, e.g. `! -s 10.0.0.0/8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its name, e.g. `-s` or `--ctstate`.
    pub option: String,
    /// Whether it stands behind a `!`.
    pub is_inverted: bool,
    /// What it compares with.
    pub values: Vec<String>,
}

/// Where a rule hands what it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To this target or chain (`-j`).
    Jump(String),
    /// To this chain, and not back (`-g`).
    Goto(String),
    /// Nowhere: the rule only counts.
    Nowhere,
}

/// Options that take one word, even one that looks like an option: iptables puts no quotes around a comment that
/// says `-j`.
const OF_ONE_WORD: [&str; 13] = [
    "-i",
    "-o",
    "-s",
    "-d",
    "-p",
    "-m",
    "--comment",
    "--string",
    "--hex-string",
    "--ctstate",
    "--state",
    "--ctdir",
    "--ctorigdstport",
];

impl Rule {
    /// Reads what stands behind `-A CHAIN`. What the target takes besides (`--reject-with`, `--log-prefix`) is left out.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut words = words(text).into_iter().peekable();
        let (mut conditions, mut is_inverted) = (Vec::new(), false);
        while let Some(option) = words.next() {
            let mut values = Vec::new();
            match option.as_str() {
                "!" => {
                    is_inverted = true;
                    continue;
                }
                "-j" => return Self { conditions, target: Target::Jump(words.next().unwrap_or_default()) },
                "-g" => return Self { conditions, target: Target::Goto(words.next().unwrap_or_default()) },
                one if OF_ONE_WORD.contains(&one) => values.extend(words.next()),
                _ => {
                    let is_value = |word: &String| word != "!" && !word.starts_with('-');
                    while let Some(value) = words.next_if(is_value) {
                        values.push(value);
                    }
                }
            }
            conditions.push(Condition { option, is_inverted, values });
            is_inverted = false;
        }
        Self { conditions, target: Target::Nowhere }
    }

    /// Whether it hands everything to that chain.
    #[must_use]
    pub fn is_jump_of_all_to(&self, chain: &str) -> bool {
        let says_nothing = |condition: &Condition| {
            condition.option == "--comment" || (condition.option == "-m" && condition.value() == "comment")
        };
        self.target.chain() == Some(chain) && self.conditions.iter().all(says_nothing)
    }
}

impl Condition {
    /// The first of its values; empty where it has none.
    #[must_use]
    pub fn value(&self) -> &str {
        self.values.first().map_or("", String::as_str)
    }
}

impl Target {
    /// Its name, whether it comes back from there or not.
    #[must_use]
    pub fn chain(&self) -> Option<&str> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            Self::Nowhere => None,
        }
    }
}

/// The words of a rule, as `iptables-restore` takes them apart (`xshared.c`, `add_param_to_argv`). It is not a shell's way:
/// a backslash counts inside quotes only, before whatever letter, `'` is a letter as any other, and `#` begins no comment.
pub(super) fn words(text: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for letter in text.chars() {
        match letter {
            _ if is_escaped => {
                word.get_or_insert_default().push(letter);
                is_escaped = false;
            }
            '\\' if is_quoted => is_escaped = true,
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            ' ' if !is_quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(option: &str, is_inverted: bool, values: &[&str]) -> Condition {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Condition { option: option.to_owned(), is_inverted, values }
    }

    #[test]
    fn a_rule_is_read_option_by_option() {
        let rule = Rule::read(
            "! -s 10.0.0.0/8 -i eth0 -p tcp -m set ! --match-set them src -m tcp --tcp-flags FIN,SYN SYN -j REJECT \
             --reject-with tcp-reset",
        );
        let conditions = [
            condition("-s", true, &["10.0.0.0/8"]),
            condition("-i", false, &["eth0"]),
            condition("-p", false, &["tcp"]),
            condition("-m", false, &["set"]),
            condition("--match-set", true, &["them", "src"]),
            condition("-m", false, &["tcp"]),
            condition("--tcp-flags", false, &["FIN,SYN", "SYN"]),
        ];
        assert_eq!(rule, Rule { conditions: conditions.into(), target: Target::Jump("REJECT".to_owned()) });
        assert_eq!(Rule::read("-g mine").target, Target::Goto("mine".to_owned()));
        assert_eq!(Rule::read("-m comment --comment -j").target, Target::Nowhere);
    }

    #[test]
    fn a_comment_that_looks_like_options_is_one_word() {
        for (written, read) in [
            ("\"-s 10.0.0.0/8 -j DROP\"", "-s 10.0.0.0/8 -j DROP"),
            ("-j", "-j"),
            ("\"\"", ""),
            ("\"it\\'s \\\"mine\\\" -j DROP \\\\\"", "it's \"mine\" -j DROP \\"),
            ("\"# -g f2b-web\"", "# -g f2b-web"),
        ] {
            let rule = Rule::read(&format!("-m comment --comment {written} -j ACCEPT"));
            assert_eq!(rule.conditions[1], condition("--comment", false, &[read]), "{written}");
            assert_eq!(rule.target, Target::Jump("ACCEPT".to_owned()), "{written}");
        }
    }

    #[test]
    fn a_jump_of_all_has_no_condition_but_a_comment() {
        assert!(Rule::read("-j mine").is_jump_of_all_to("mine"));
        assert!(Rule::read("-m comment --comment \"of mine\" -j mine").is_jump_of_all_to("mine"));
        for other in ["-i eth0 -j mine", "-j yours", "-m socket -j mine", "-m comment --comment \"-j mine\""]
        {
            assert!(!Rule::read(other).is_jump_of_all_to("mine"), "{other}");
        }
    }
}
