// Rights to write to one container. The bridge reads no documents there; a batch needs the rights of its operations.
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
  name: guid(cosmos.id, database, container, 'cosmos-bridge target')
  properties: {
    roleName: 'cosmos-bridge target ${database}/${container}'
    type: 'CustomRole'
    assignableScopes: [
      '${cosmos.id}/dbs/${database}/colls/${container}'
    ]
    permissions: [
      {
        dataActions: [
          'Microsoft.DocumentDB/databaseAccounts/readMetadata'
          'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/create'
          'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/upsert'
          'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/replace'
          'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/delete'
        ]
      }
    ]
  }
}

resource assignment 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2024-05-15' = {
  parent: cosmos
  name: guid(cosmos.id, database, container, principalId, 'cosmos-bridge target')
  properties: {
    roleDefinitionId: role.id
    principalId: principalId
    scope: '${cosmos.id}/dbs/${database}/colls/${container}'
  }
}
