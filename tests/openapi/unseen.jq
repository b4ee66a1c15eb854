# What openapi-diff does not compare, one promise a line. Each line of the released document must be in the current one:
# what is added is new lines, what changes loses one. A pattern that is widened counts as changed, too.
(.servers[] | "server \(.url)"),
(.components.securitySchemes | to_entries[] | "credentials \(.key): \(.value | del(.description))"),
(.paths | to_entries[] | .key as $path | .value | to_entries[] | "\(.key) \($path)" as $at | .value
  | "\($at) is \(.operationId)",
    "\($at) without a body: \(.requestBody.required != true)",
    "\($at) without credentials: \(.security == [] or any(.security[]; . == {}))",
    "\($at) must have \([.parameters[]? | select(.required) | .name] | sort)",
    (.parameters[]? | "\($at) takes \(.in) \(.name): \(.schema) \(.style) \(.explode)"),
    (.requestBody.content // {} | keys[] | "\($at) reads \(.)"),
    (.security[] | "\($at) accepts \(.)")),
(.components.schemas | path(.. | objects | select(.type | type == "string")) as $member | getpath($member)
  | "\($member | map(tostring) | join(".")): \({pattern, enum, format})")
