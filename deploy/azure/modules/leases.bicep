// The container for leases of several instances. The bridge does not use it yet.
param account string
param database string
param container string = 'cosmos-bridge-leases'

resource leases 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers@2024-05-15' = {
  name: '${account}/${database}/${container}'
  properties: {
    resource: {
      id: container
      partitionKey: {
        kind: 'Hash'
        paths: [
          '/id'
        ]
        version: 2
      }
      // Documents may have a time to live; there is no default.
      defaultTtl: -1
    }
  }
}
