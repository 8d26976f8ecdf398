-- Script of wrk: `wrk -s load.lua URL -- PATH BODY IDS TOKEN`. BODY and IDS are files; BODY and TOKEN may be "-".
-- Requests one post after the other, and prints the result on one line.
local requests, count, next_index = {}, 0, 0

local function contents(file)
  local handle = assert(io.open(file))
  local text = handle:read("*a")
  handle:close()
  return text
end

function init(args)
  local path, body, ids, token = args[1], args[2], args[3], args[4]
  local headers = { ["Content-Type"] = "application/json", ["Accept"] = "application/json" }
  if token ~= "-" then headers["Authorization"] = "Bearer " .. token end
  local text = body ~= "-" and contents(body) or nil
  for id in io.lines(ids) do
    count = count + 1
    requests[count] = wrk.format(
      text and "POST" or "GET",
      (path:gsub("%%ID%%", id)),
      headers,
      text and (text:gsub("%%ID%%", id))
    )
  end
end

function request()
  next_index = next_index % count + 1
  return requests[next_index]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "RESULT %d %d %d %d %d\n",
    summary.requests,
    summary.duration,
    latency:percentile(50),
    latency:percentile(99),
    errors.status + errors.connect + errors.read + errors.write + errors.timeout
  ))
end
