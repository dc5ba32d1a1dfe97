"""What a recipe would do, shown before it is trained: plan and describe."""
