-- For wrk, from compare.py: METHOD REQUESTS START ANSWERS [SAMPLES].
--
--   REQUESTS  a file: an Authorization value or none a line, and after a tab a form or JSON, if one is to be sent. They are sent in
--             turn, from the line START on (from 0), and again from the first one after the last.
--   ANSWERS   a file: every line is a right body, or a Lua pattern for one, if it begins with ^.
--   SAMPLES   a file for every 500th body of this run.
--
-- Every answer is looked at: its status must be 200 and its body right. Prints requests, microseconds, the errors
-- that wrk counted, answers that were not right, and answers that were looked at; the first wrong one goes
-- to standard error.

local threads = {}
local prepared, at, bodies, patterns, samples = {}, 0, {}, {}, nil
wrong, seen = 0, 0 -- global: `done` reads them

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  for line in io.lines(args[2]) do
    local authorization, body = line:match("^([^\t]*)\t?(.*)$")
    local headers = { Host = wrk.headers["Host"], Authorization = authorization ~= "" and authorization or nil }
    if body ~= "" then
      headers["Content-Type"] = body:sub(1, 1) == "{" and "application/json" or "application/x-www-form-urlencoded"
    end
    prepared[#prepared + 1] = wrk.format(args[1], nil, headers, body ~= "" and body or nil)
  end
  at = tonumber(args[3]) % #prepared
  for line in io.lines(args[4]) do
    if line:sub(1, 1) == "^" then
      patterns[#patterns + 1] = line
    else
      bodies[line] = true
    end
  end
  samples = args[5] and assert(io.open(args[5], "w"))
end

function request()
  at = at % #prepared + 1
  return prepared[at]
end

local function right(body)
  if bodies[body] then
    return true
  end
  for _, pattern in ipairs(patterns) do
    if body:find(pattern) then
      return true
    end
  end
  return false
end

function response(status, _, body)
  seen = seen + 1
  if status ~= 200 or not right(body) then
    wrong = wrong + 1
    if wrong == 1 then
      io.stderr:write(status, " ", body, "\n")
    end
  elseif samples and seen % 500 == 1 then
    samples:write(body, "\n")
    samples:flush()
  end
end

function done(summary)
  local e, wrongs, seens = summary.errors, 0, 0
  for _, thread in ipairs(threads) do
    wrongs, seens = wrongs + thread:get("wrong"), seens + thread:get("seen")
  end
  local errors = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("%d %d %d %d %d\n", summary.requests, summary.duration, errors, wrongs, seens))
end
