"""Creates what config.toml names in the emulator, and a few orders. Can be repeated.

Usage: python shop.py    with azure-cosmos installed; the key in /run/secrets/source.key
"""

import os
from pathlib import Path

from azure.cosmos import CosmosClient, PartitionKey

endpoint = os.environ.get("COSMOS_ENDPOINT", "http://localhost:8081")
key = Path(os.environ.get("COSMOS_KEY_FILE", "/run/secrets/source.key")).read_text().strip()
shop = CosmosClient(endpoint, key).create_database_if_not_exists("shop")
orders = shop.create_container_if_not_exists("orders", PartitionKey("/customerId"))
levels = PartitionKey(["/customer/region", "/customerId"], kind="MultiHash")
shop.create_container_if_not_exists("orders_by_customer", levels)
for number in range(100):
    customer = number % 7
    region = "eu" if customer % 2 else "us"
    orders.upsert_item(
        {"id": str(number), "customerId": f"c{customer}", "customer": {"region": region}, "total": number}
    )
