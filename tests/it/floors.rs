//! The order of the rooms that `src/lib.rs` gives is that of the imports: none leads upward, and no two files need each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// Segments from the crate's root.
type Module = Vec<String>;

/// What a file names.
#[derive(Default)]
struct Names {
    /// Paths that begin with `crate`, `super`, `self` or a module of their own.
    paths: Vec<Vec<String>>,
    /// What `pub use` gives on, by the name that it has here.
    given_on: BTreeMap<String, Vec<String>>,
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let is_test = item.attrs.iter().any(|attribute| attribute.path().is_ident("cfg"));
        if !is_test {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_given_on = !matches!(item.vis, syn::Visibility::Inherited);
        let mut leaves = Vec::new();
        leaves_of(&item.tree, &mut Vec::new(), &mut leaves);
        for (path, name) in leaves {
            if is_given_on {
                self.given_on.insert(name, path.clone());
            }
            self.paths.push(path);
        }
    }

    /// `pub(super)` names nobody.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}

/// Each path of a `use`, and the name that it gets.
fn leaves_of(tree: &syn::UseTree, before: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, String)>) {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            leaves_of(&path.tree, before, leaves);
            before.pop();
        }
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| leaves_of(tree, before, leaves)),
        syn::UseTree::Name(name) if name.ident == "self" => {
            leaves.push((before.clone(), before.last().cloned().unwrap_or_default()));
        }
        syn::UseTree::Name(name) => leaves.push(leaf(before, &name.ident, &name.ident)),
        syn::UseTree::Rename(rename) => leaves.push(leaf(before, &rename.ident, &rename.rename)),
        syn::UseTree::Glob(_) => leaves.push((before.clone(), String::new())),
    }
}

fn leaf(before: &[String], ident: &syn::Ident, name: &syn::Ident) -> (Vec<String>, String) {
    ([before, &[ident.to_string()]].concat(), name.to_string())
}

/// The program's files by their modules.
struct Program(BTreeMap<Module, Names>);

impl Program {
    fn read(source: &Path) -> Self {
        let mut files = Vec::new();
        collect(source, &mut files);
        let read = |file: PathBuf| {
            let text = std::fs::read_to_string(&file).unwrap();
            let mut names = Names::default();
            names.visit_file(
                &syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())),
            );
            (module_of(file.strip_prefix(source).unwrap()), names)
        };
        Self(files.into_iter().filter(|file| !file.ends_with("main.rs")).map(read).collect())
    }

    /// From the crate's root; `None` for other crates and for names of the file itself.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([module, &path[1..]].concat()),
            "super" => {
                let up = path.iter().take_while(|segment| *segment == "super").count();
                Some([&module[..module.len().checked_sub(up)?], &path[up..]].concat())
            }
            first => {
                let child = [&module[..], &[first.to_owned()]].concat();
                self.0.contains_key(&child).then(|| [&module[..], path].concat())
            }
        }
    }

    /// The file that defines what `path` names, past those that only give it on.
    fn definer(&self, path: &[String]) -> Module {
        let mut path = path.to_vec();
        loop {
            let length = (0..=path.len()).rev().find(|length| self.0.contains_key(&path[..*length])).unwrap();
            let module = path[..length].to_vec();
            let given_on = path.get(length).and_then(|name| self.0[&module].given_on.get(name));
            let Some(next) = given_on.and_then(|next| self.absolute(&module, next)) else { return module };
            path = [&next, &path[length + 1..]].concat();
        }
    }

    /// Which files each file needs.
    fn needs(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let of = |(module, names): (_, &Names)| {
            let paths = names.paths.iter().filter_map(|path| self.absolute(module, path));
            let needed = paths.map(|path| self.definer(&path));
            (module, needed.filter(|needed| needed != module && !needed.is_empty()).collect())
        };
        self.0.iter().map(of).collect()
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn module_of(file: &Path) -> Module {
    let mut module: Module =
        file.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|last| ["mod", "lib"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

/// The rooms, the highest one first: each line of the list in `src/lib.rs` is a floor.
fn floors(library: &str) -> Vec<Vec<String>> {
    let list = library.split("//! # Floors").nth(1).expect("a list of floors");
    let lines = list.lines().skip_while(|line| !line.contains("```")).skip(1);
    let lines = lines.take_while(|line| !line.contains("```")).map(|line| line.trim_start_matches("//!"));
    lines
        .map(|line| line.split("  ").map(str::trim).find(|part| !part.is_empty()).unwrap_or_default())
        .map(|rooms| rooms.split(' ').map(str::to_owned).collect())
        .collect()
}

#[test]
fn no_import_leads_upward_and_none_in_a_circle() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let program = Program::read(&source);
    let floors = floors(&std::fs::read_to_string(source.join("lib.rs")).unwrap());
    let floor = |module: &Module| {
        let room = module.first().unwrap();
        floors
            .iter()
            .position(|rooms| rooms.contains(room))
            .unwrap_or_else(|| panic!("`{room}` is on no floor"))
    };
    let mut wrong = Vec::new();
    let needs = program.needs();
    for (module, needed) in needs.iter().filter(|(module, _)| !module.is_empty()) {
        for needed in needed {
            let upward = floor(needed) < floor(module);
            let beside = floor(needed) == floor(module) && needed[0] != module[0];
            if upward || beside {
                wrong.push(format!("{} imports {}", module.join("::"), needed.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "not downward:\n{}", wrong.join("\n"));

    // What is left when files that need none of those left, or that none of them needs, are taken away again and again.
    let mut left: BTreeSet<&Module> = needs.keys().copied().collect();
    loop {
        let needed: BTreeSet<&Module> = left.iter().flat_map(|module| &needs[*module]).collect();
        let is_in_a_circle = |module: &&Module| {
            needed.contains(*module) && needs[*module].iter().any(|needed| left.contains(needed))
        };
        let fewer: BTreeSet<&Module> = left.iter().copied().filter(is_in_a_circle).collect();
        if fewer.len() == left.len() {
            break;
        }
        left = fewer;
    }
    let circles = left.iter().map(|module| {
        let needed: Vec<String> = needs[*module]
            .iter()
            .filter(|needed| left.contains(needed))
            .map(|needed| needed.join("::"))
            .collect();
        format!("{} needs {}", module.join("::"), needed.join(", "))
    });
    assert!(left.is_empty(), "in a circle:\n{}", circles.collect::<Vec<_>>().join("\n"));
}
