//! Maps from names that are proved elsewhere to users (`pg_ident.conf`).

/// Lines of `map system-user user`, where the user may be `all`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentMaps(Vec<[String; 3]>);

impl IdentMaps {
    /// The maps, and the lines that are none.
    pub fn parse(text: &str) -> (IdentMaps, Vec<(usize, String)>) {
        let mut maps = Vec::new();
        let mut odd = Vec::new();
        for (n, line) in text.lines().enumerate() {
            match super::read::words(line) {
                Err(problem) => odd.push((n + 1, problem)),
                Ok(words) => match &words[..] {
                    [] => {}
                    [map, system, user] if !system.text.starts_with('/') => {
                        maps.push([map, system, user].map(|word| word.text.clone()));
                    }
                    [_, system, _] if system.text.starts_with('/') => {
                        odd.push((n + 1, "regular expressions are not supported".to_owned()));
                    }
                    _ => odd.push((
                        n + 1,
                        "a map, a system user and a user are expected".to_owned(),
                    )),
                },
            }
        }
        (IdentMaps(maps), odd)
    }

    /// Whether `map` lets somebody who is `system` in as `user`; without a map, as the same only.
    pub fn allows(&self, map: Option<&str>, system: &str, user: &str) -> bool {
        let Some(map) = map else {
            return system == user;
        };
        self.0
            .iter()
            .any(|[m, s, u]| m == map && s == system && (u == user || u == "all"))
    }
}
