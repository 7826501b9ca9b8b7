-- Health of an McpServer in Argo CD, told from the conditions that every kstatus reader uses.
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "the operator has not seen this version yet" }
end
local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
local function holds(kind)
  return found[kind] ~= nil and found[kind].status == "True"
end
local ready = found["Ready"] or { message = "nothing is known yet" }
if obj.spec.suspend then
  return { status = "Suspended", message = "spec.suspend is set: everything is left as it is" }
elseif holds("Stalled") then
  return { status = "Degraded", message = found["Stalled"].message }
elseif holds("Ready") then
  return { status = "Healthy", message = ready.message }
end
return { status = "Progressing", message = ready.message }
