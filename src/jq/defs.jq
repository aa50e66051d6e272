# What jq 1.6 defines and the interpreter lacks or defines differently. The names that `mod.rs` lists as
# replaced are those of the interpreter's own definitions.

def capture_of_match: map(select(.name) | { (.name): .string }) | add + {};
def scan_(re; flags): matches(re; flags)[] | [.[].string] | if length > 1 then .[1:] else .[0] end;
# One pass where each match has one output, as nearly always.
def sub(re; f; flags):
  def handle: if isarray then capture_of_match | f end;
  [split_matches(re; flags)[] | [handle]] as $parts
  | if all($parts[]; length == 1) then [$parts[][0]] | concat_
    else reduce $parts[] as $part (""; . + $part[]) end;
def test($val): if ($val | type) == "array" then test($val[0]; $val[1]) else test($val; null) end;
def match($val): if ($val | type) == "array" then match($val[0]; $val[1]) else match($val; null) end;
def capture($val): if ($val | type) == "array" then capture($val[0]; $val[1]) else capture($val; null) end;

def setpath($path; $value): getpath($path) = $value;
def del(f): delpaths([path(f)]);
def to_entries: [keys_unsorted[] as $key | { $key, value: .[$key] }];
def from_entries: reduce .[] as $entry ({};
  . + { ($entry | if .key == null then .k // .name // .Name // .K // .Key else .key end
        | if type == "string" then . else tojson end):
      ($entry | if has("value") then .value else .Value end) });
def with_entries(f): to_entries | map(f) | from_entries;

def join($separator): if . == [] then "" else
  [.[] | if type == "boolean" or type == "number" then tojson else . end] as $parts
  | [$parts[0], ($parts[1:][] | $separator, .)] | concat_ end;
def flatten_($depth): reduce .[] as $part ([];
  if ($part | type) == "array" and $depth != 0 then . + ($part | flatten_($depth - 1)) else . + [$part] end);
def flatten($depth): if $depth < 0 then error("flatten depth must not be negative") else flatten_($depth) end;
def flatten: flatten_(1e9);
def recurse_down: recurse;
def scalars_or_empty: select((type | . != "array" and . != "object") or length == 0);
def leaf_paths: paths(scalars);
def reverse: [.[length - 1 - range(0; length)]];
def ltrimstr($text): if type == "string" and ($text | type) == "string" and startswith($text)
  then .[($text | length):] else . end;
def rtrimstr($text): if type == "string" and ($text | type) == "string" and endswith($text)
  then .[:length - ($text | length)] else . end;
def last(f): reduce f as $item (null; $item);
def nth($n; f): if $n < 0 then error("negative index") else last(limit($n + 1; f)) end;
def gamma: lgamma;
def todate: strftime("%Y-%m-%dT%H:%M:%SZ");
def dateadd(unit; n): . + n;
def datesub(unit; n): . - n;
def date: todate;
def ascii: [.] | implode;
def pick(f): . as $top | reduce path(f) as $path (null; setpath($path; $top | getpath($path)));
def toarray: if type == "array" then . else [.] end;

def IN(values): any(. == values; .);
def IN(left; values): any(left == values; .);
def INDEX(stream; f): reduce stream as $row ({}; .[$row | f | tostring] |= $row);
def INDEX(f): INDEX(.[]; f);

def tostream: path(def rec: (.[]? | rec), .; rec) as $path | getpath($path)
  | reduce path(.[]?) as $last ([$path, .]; [$path + $last]);
def fromstream(f): { x: null, e: false } as $init
  | foreach f as $i ($init;
      if .e then $init else . end
      | if $i | length == 2
        then setpath(["e"]; $i[0] | length == 0) | setpath(["x"] + $i[0]; $i[1])
        else setpath(["e"]; $i[0] | length == 1) end;
      if .e then .x else empty end);
def truncate_stream(stream): . as $depth | stream
  | if (.[0] | length) > $depth then [.[0][$depth:]] + .[1:] else empty end;

def cells_(text): if type != "array" then error("cannot format a value that is not an array") end
  | map(if type == "string" then text elif . == null then "" elif type == "number" or type == "boolean"
        then tostring else error("cannot format an array or object in a row") end);
def @csv: cells_("\"" + (split("\"") | join("\"\"")) + "\"") | join(",");
def @tsv: cells_(split("\\") | join("\\\\") | split("\t") | join("\\t") | split("\n") | join("\\n")
                 | split("\r") | join("\\r")) | join("\t");
def @base32: tostring | encode_base32;
def @base32d: tostring | decode_base32;
