-- For wrk, from benches/overload and others: METHOD, and a file with one Authorization value a
-- line, which the requests take in turn. Prints requests, microseconds, errors, and the
-- 99th percentile of the answers' latency in microseconds.

local prepared, at = {}, 0

function init(args)
  for line in io.lines(args[2]) do
    wrk.headers["Authorization"] = line
    prepared[#prepared + 1] = wrk.format(args[1])
  end
  wrk.method = args[1]
  -- Without `request`, wrk sends the same bytes again without asking here.
  if #prepared > 1 then
    function request()
      at = at % #prepared + 1
      return prepared[at]
    end
  end
end

function done(summary, latency)
  local e = summary.errors
  local errors = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("%d %d %d %d\n", summary.requests, summary.duration, errors, latency:percentile(99)))
end
