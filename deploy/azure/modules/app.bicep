// One bridge in Container Apps, with its state on an NFS share.
//
// Never more than one replica, and one revision at a time: the state file belongs to one process. SQLite on a
// network file system depends on its locks. NFS 4.1 has them, SMB as mounted by Container Apps is not
// sufficient; prefer systemd or Kubernetes, where a disk is available.
param location string
param name string
param image string
@secure()
param config string
param identityId string
param workspace string
param subnetId string

resource logs 'Microsoft.OperationalInsights/workspaces@2023-09-01' existing = {
  name: workspace
}

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: '${name}${uniqueString(resourceGroup().id)}'
  location: location
  kind: 'FileStorage'
  sku: {
    name: 'Premium_ZRS'
  }
  properties: {
    minimumTlsVersion: 'TLS1_2'
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    // NFS is not encrypted in transit: only the subnet can reach it.
    supportsHttpsTrafficOnly: false
    networkAcls: {
      defaultAction: 'Deny'
      bypass: 'None'
      virtualNetworkRules: [
        {
          id: subnetId
          action: 'Allow'
        }
      ]
    }
  }
}

resource share 'Microsoft.Storage/storageAccounts/fileServices/shares@2023-05-01' = {
  name: '${storage.name}/default/state'
  properties: {
    enabledProtocols: 'NFS'
    rootSquash: 'NoRootSquash'
    shareQuota: 100
  }
}

resource managed 'Microsoft.App/managedEnvironments@2025-01-01' = {
  name: name
  location: location
  properties: {
    vnetConfiguration: {
      infrastructureSubnetId: subnetId
      internal: true
    }
    appLogsConfiguration: {
      destination: 'log-analytics'
      logAnalyticsConfiguration: {
        customerId: logs.properties.customerId
        sharedKey: logs.listKeys().primarySharedKey
      }
    }
    workloadProfiles: [
      {
        name: 'Consumption'
        workloadProfileType: 'Consumption'
      }
    ]
  }
}

resource mounted 'Microsoft.App/managedEnvironments/storages@2025-01-01' = {
  name: '${managed.name}/state'
  properties: {
    nfsAzureFile: {
      server: '${storage.name}.file.${environment().suffixes.storage}'
      shareName: '/${storage.name}/state'
      accessMode: 'ReadWrite'
    }
  }
  dependsOn: [
    share
  ]
}

resource bridge 'Microsoft.App/containerApps@2025-01-01' = {
  name: name
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    environmentId: managed.id
    workloadProfileName: 'Consumption'
    configuration: {
      activeRevisionsMode: 'Single'
      secrets: [
        {
          name: 'config'
          value: config
        }
      ]
    }
    template: {
      terminationGracePeriodSeconds: 45
      scale: {
        minReplicas: 1
        maxReplicas: 1
      }
      volumes: [
        {
          name: 'config'
          storageType: 'Secret'
          secrets: [
            {
              secretRef: 'config'
              path: 'config.toml'
            }
          ]
        }
        {
          name: 'state'
          storageType: 'NfsAzureFile'
          storageName: 'state'
        }
      ]
      containers: [
        {
          name: 'cosmos-bridge'
          image: image
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
          volumeMounts: [
            {
              volumeName: 'config'
              mountPath: '/etc/cosmos-bridge'
            }
            {
              volumeName: 'state'
              mountPath: '/var/lib/cosmos-bridge'
            }
          ]
          probes: [
            {
              type: 'Liveness'
              httpGet: {
                path: '/live'
                port: 8090
              }
              periodSeconds: 10
              failureThreshold: 3
            }
            {
              type: 'Readiness'
              httpGet: {
                path: '/ready'
                port: 8090
              }
              periodSeconds: 10
              failureThreshold: 3
            }
          ]
        }
      ]
    }
  }
  dependsOn: [
    mounted
  ]
}
