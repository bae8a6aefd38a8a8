-- What wrk asks: `wrk … -s serve.lua URL -- id|image K FOLDER`. The folder has ids.txt, an id a line, and forms/0, forms/1, …,
-- bodies of forms with a picture. Prints a JSON object at the end.
local kind, k, folder
local ids, requests = {}, {}

function init(arguments)
    kind, k, folder = arguments[1], arguments[2], arguments[3]
    math.randomseed(1)
    if kind == "id" then
        for id in io.lines(folder .. "/ids.txt") do ids[#ids + 1] = id end
    else
        local headers = { ["Content-Type"] = "multipart/form-data; boundary=boundary" }
        local search = '--boundary\r\nContent-Disposition: form-data; name="search"\r\n\r\n{"k":' .. k .. '}\r\n'
        local at = 0
        while true do
            local file = io.open(folder .. "/forms/" .. at, "rb")
            if not file then break end
            requests[#requests + 1] = wrk.format("POST", "/api/v1/search", headers, search .. file:read("*a"))
            file:close()
            at = at + 1
        end
    end
end

local json = { ["Content-Type"] = "application/json" }

function request()
    if kind == "image" then return requests[math.random(#requests)] end
    local body = '{"query":{"id":"' .. ids[math.random(#ids)] .. '"},"k":' .. k .. '}'
    return wrk.format("POST", "/api/v1/search", json, body)
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format(
        '{"requests":%d,"seconds":%.6f,"p50_ms":%.4f,"p99_ms":%.4f,"most_ms":%.4f,' ..
        '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
        e.connect, e.read, e.write, e.status, e.timeout))
end
