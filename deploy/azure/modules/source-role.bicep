// Rights to read one container: the change feed, no writes. The bridge sends no queries.
// For Entra ID. Data-plane roles cannot grant the right to read provisioned throughput: configure
// budgets in RU/s, not as shares.
param account string
param database string
param container string
param principalId string

resource cosmos 'Microsoft.DocumentDB/databaseAccounts@2024-05-15' existing = {
  name: account
}

resource role 'Microsoft.DocumentDB/databaseAccounts/sqlRoleDefinitions@2024-05-15' = {
  parent: cosmos
  name: guid(cosmos.id, database, container, 'cosmos-bridge source')
  properties: {
    roleName: 'cosmos-bridge source ${database}/${container}'
    type: 'CustomRole'
    assignableScopes: [
      '${cosmos.id}/dbs/${database}/colls/${container}'
    ]
    permissions: [
      {
        dataActions: [
          'Microsoft.DocumentDB/databaseAccounts/readMetadata'
          'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/readChangeFeed'
          'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/read'
        ]
      }
    ]
  }
}

resource assignment 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2024-05-15' = {
  parent: cosmos
  name: guid(cosmos.id, database, container, principalId, 'cosmos-bridge source')
  properties: {
    roleDefinitionId: role.id
    principalId: principalId
    scope: '${cosmos.id}/dbs/${database}/colls/${container}'
  }
}
