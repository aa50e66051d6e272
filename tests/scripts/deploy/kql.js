// Parses and binds each query of a file with the vendor's own language service.
//
// Usage: node kql.js FILE    with NODE_PATH at what holds @kusto/language-service-next
"use strict";
require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");
const { readFileSync } = require("fs");

const { GlobalState, KustoCode, Symbols } = Kusto.Language;
// The columns that the queries use. Written from memory, not taken from a workspace: what this finds is a
// query that contradicts this list.
const tables = {
  CDBDataPlaneRequests:
    "(TimeGenerated: datetime, AccountName: string, DatabaseName: string, CollectionName: string, " +
    "OperationName: string, StatusCode: int, RequestCharge: real, DurationMs: real, UserAgent: string)",
  ContainerAppConsoleLogs_CL: "(TimeGenerated: datetime, ContainerName_s: string, Log_s: string)",
  ContainerAppSystemLogs_CL:
    "(TimeGenerated: datetime, ContainerAppName_s: string, RevisionName_s: string, Type_s: string, " +
    "Reason_s: string, Log_s: string)",
};
const symbols = Object.entries(tables).map(([name, columns]) => new Symbols.TableSymbol.$ctor7(name, columns, null));
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor3("logs", null, symbols, false));

function mistakes(query) {
  const found = KustoCode.ParseAndAnalyze(query, globals).GetDiagnostics();
  return Array.from({ length: found.Count }, (_, index) => found.getItem(index).Message);
}

const queries = readFileSync(process.argv[2], "utf8").split(/;\n/).filter((query) => /^\w/m.test(query.replace(/^\/\/.*$/gm, "")));
let wrong = 0;
for (const query of queries) {
  for (const mistake of mistakes(query)) {
    console.error(`${mistake}\n${query.trim()}\n`);
    wrong += 1;
  }
}
// What finds nothing wrong with these would find nothing wrong with anything.
for (const query of ["CDBDataPlaneRequests | wher StatusCode == 429", "CDBDataPlaneRequests | where Code == 429"]) {
  if (mistakes(query).length === 0) throw new Error(`taken: ${query}`);
}
console.log(`${queries.length} queries`);
process.exitCode = wrong || queries.length === 0 ? 1 : 0;
